interface ClientOptions {
  clientId: string;
  clientSecret: string;
  /** Scopes that the client may request. */
  scopes: readonly string[];
  partitionGlobalId: string;
  /** A token that is always valid, like a personal access token. */
  accessToken?: string | undefined;
}

const READING_SCOPES = ['PM.Audit', 'PM.Audit.Read'];

/** The valid tokens. */
export class TokenBook {
  #live = new Map<string, { scopes: string[]; expiresAt: number }>();
  #issued = 0;

  constructor(private readonly client: ClientOptions) {}

  /** Issues a token for a client credentials form, or returns the OAuth error. */
  issue(form: URLSearchParams, lifeSeconds: number): { token: string; scope: string } | { error: string } {
    const { clientId, clientSecret, scopes } = this.client;
    if (form.get('grant_type') !== 'client_credentials') return { error: 'unsupported_grant_type' };
    if (form.get('client_id') !== clientId || form.get('client_secret') !== clientSecret) {
      return { error: 'invalid_client' };
    }
    const requested = (form.get('scope') ?? scopes.join(' ')).split(' ').filter(Boolean);
    if (requested.some((scope) => !scopes.includes(scope))) return { error: 'invalid_scope' };
    const expiresAt = Date.now() + lifeSeconds * 1000;
    const token = this.#sign({ jti: ++this.#issued, exp: Math.floor(expiresAt / 1000), scope: requested });
    this.#live.set(token, { scopes: requested, expiresAt });
    return { token, scope: requested.join(' ') };
  }

  revokeAll(): void {
    this.#live.clear();
  }

  /** Returns the status for an `Authorization` header: 200, 401, or 403 without a scope that may read the audit log. */
  check(authorization: string | undefined): 200 | 401 | 403 {
    const token = /^Bearer (\S+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return 401;
    if (token === this.client.accessToken) return 200;
    const live = this.#live.get(token);
    if (!live || live.expiresAt <= Date.now()) return 401;
    return live.scopes.some((scope) => READING_SCOPES.includes(scope)) ? 200 : 403;
  }

  /** Creates a token like UiPath's JWT, with the claim `prt_id` and without a real signature. */
  #sign(claims: object): string {
    const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
    const { clientId, partitionGlobalId } = this.client;
    const body = { client_id: clientId, prt_id: partitionGlobalId, ...claims };
    return `${encode({ alg: 'RS256', typ: 'at+jwt' })}.${encode(body)}.${encode({ simulated: true })}`;
  }
}
