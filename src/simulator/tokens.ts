interface ClientOptions {
  clientId: string;
  clientSecret: string;
  /** Scopes that the client may request. */
  scopes: readonly string[];
  partitionGlobalId: string;
  /** A token that is always good, like a personal access token. */
  accessToken?: string | undefined;
}

const READING_SCOPES = ['PM.Audit', 'PM.Audit.Read'];

/** The tokens issued and still alive. */
export class TokenBook {
  #live = new Map<string, { scopes: string[]; expiresAt: number }>();
  #issued = 0;

  constructor(private readonly client: ClientOptions) {}

  /** The response to a client credentials form: a token, or the name of the OAuth error. */
  issue(form: URLSearchParams, lifeSeconds: number): { token: string; scope: string } | { error: string } {
    const { clientId, clientSecret, scopes } = this.client;
    if (form.get('grant_type') !== 'client_credentials') return { error: 'unsupported_grant_type' };
    if (form.get('client_id') !== clientId || form.get('client_secret') !== clientSecret) {
      return { error: 'invalid_client' };
    }
    const asked = (form.get('scope') ?? scopes.join(' ')).split(' ').filter(Boolean);
    if (asked.some((scope) => !scopes.includes(scope))) return { error: 'invalid_scope' };
    const expiresAt = Date.now() + lifeSeconds * 1000;
    const token = this.#sign({ jti: ++this.#issued, exp: Math.floor(expiresAt / 1000), scope: asked });
    this.#live.set(token, { scopes: asked, expiresAt });
    return { token, scope: asked.join(' ') };
  }

  revokeAll(): void {
    this.#live.clear();
  }

  /** The status an `Authorization` header deserves: 200, 401 or, without a scope that may read the audit log, 403. */
  judge(authorization: string | undefined): 200 | 401 | 403 {
    const token = /^Bearer (\S+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return 401;
    if (token === this.client.accessToken) return 200;
    const live = this.#live.get(token);
    if (!live || live.expiresAt <= Date.now()) return 401;
    return live.scopes.some((scope) => READING_SCOPES.includes(scope)) ? 200 : 403;
  }

  /** Looks like UiPath's JWT, claim `prt_id` included; the signature is not one. */
  #sign(claims: object): string {
    const encode = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url');
    const { clientId, partitionGlobalId } = this.client;
    const body = { client_id: clientId, prt_id: partitionGlobalId, ...claims };
    return `${encode({ alg: 'RS256', typ: 'at+jwt' })}.${encode(body)}.${encode({ simulated: true })}`;
  }
}
