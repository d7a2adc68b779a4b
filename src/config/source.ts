import type { Credentials } from '../core/credentials.ts';
import type { LogKey } from '../core/log-key.ts';
import type { RawValues } from './environment.ts';
import { isWebAddress } from './kinds.ts';
import { type Findings, problemWith, quote } from './problems.ts';
import { type Values, type VariableName, variableOf } from './variables.ts';

/** One organization at the source, validated, with all placeholders in URLs replaced. */
export interface SourceConfig extends LogKey {
  /** As configured, not percent-encoded: with `log` the key of the rows. */
  organization: string;
  /** Without a trailing slash. */
  baseUrl: string;
  /** URL of the audit log, without a query. */
  auditUrl: string;
  credentials: Credentials;
  language: string;
  apiVersion: string | undefined;
  /** Timeout of one request. */
  timeoutMs: number;
  maxResponseBytes: number;
  /** Attempts per request, including the first. */
  retryLimit: number;
  retryMaxDelayMs: number;
}

const MAX_LISTED = 5;

/** Returns `undefined` and adds to `findings` if there are problems. */
export function parseSource(
  raw: RawValues,
  values: Partial<Values>,
  findings: Findings,
): SourceConfig | undefined {
  if (!raw.has('UIPATH_ORGANIZATION')) {
    findings.problems.push(missing('UIPATH_ORGANIZATION', 'Set it, for example UIPATH_ORGANIZATION=acme'));
  }
  const baseUrl = parseBaseUrl(values, findings);
  const auditUrl = parseAuditUrl(baseUrl, values, findings);
  const credentials = parseCredentials(raw, values, baseUrl, findings);
  if (findings.problems.length > 0) return undefined;
  const complete = values as Values;
  return {
    organization: complete.UIPATH_ORGANIZATION as string,
    log: complete.UIPATH_LOGS,
    baseUrl: baseUrl as string,
    auditUrl: auditUrl as string,
    credentials: credentials as Credentials,
    language: complete.UIPATH_LANGUAGE,
    apiVersion: complete.UIPATH_API_VERSION,
    timeoutMs: complete.HTTP_TIMEOUT,
    maxResponseBytes: complete.HTTP_MAX_RESPONSE_MIB * 1024 * 1024,
    retryLimit: complete.RETRY_LIMIT,
    retryMaxDelayMs: complete.RETRY_MAX_DELAY,
  };
}

function parseBaseUrl(values: Partial<Values>, findings: Findings): string | undefined {
  const { UIPATH_BASE_URL: address, UIPATH_ORGANIZATION: organization } = values;
  if (address === undefined) return undefined;
  checkEncryption('UIPATH_BASE_URL', address, values, findings);
  const baseUrl = removeOrganization(address, organization === undefined ? [] : [organization]);
  if (baseUrl !== address) {
    const removed = quote(address.slice(baseUrl.length));
    findings.warnings.push(
      `UIPATH_BASE_URL ends with the organization, which the paths already contain; ${removed} was removed.`,
    );
  }
  return baseUrl;
}

/** Removes the last part of a base URL if it is one of the organizations: the paths contain the organization. */
export function removeOrganization<T extends string | undefined>(
  address: T,
  organizations: readonly string[],
): T {
  const path = address === undefined ? '' : new URL(address).pathname;
  const endings = organizations.map((organization) => `/${encodeURIComponent(organization)}`);
  const ending = endings.find((known) => path.endsWith(known));
  return (ending === undefined ? address : address?.slice(0, -ending.length)) as T;
}

function parseAuditUrl(
  baseUrl: string | undefined,
  values: Partial<Values>,
  findings: Findings,
): string | undefined {
  const name = 'UIPATH_AUDIT_PATH';
  const template = values[name];
  if (template === undefined) return undefined;
  const known = {
    organization: encoded(values.UIPATH_ORGANIZATION),
    partitionGlobalId: encoded(values.UIPATH_PARTITION_GLOBAL_ID),
  };
  const path = replacePlaceholders(name, template, known, findings);
  if (template.includes('{partitionGlobalId}') && known.partitionGlobalId === undefined) {
    findings.problems.push(
      missing(
        'UIPATH_PARTITION_GLOBAL_ID',
        'Set it, since UIPATH_AUDIT_PATH contains {partitionGlobalId}, or remove that from the path.',
      ),
    );
  }
  return baseUrl === undefined || path === undefined ? undefined : new URL(baseUrl + path).href;
}

function parseCredentials(
  raw: RawValues,
  values: Partial<Values>,
  baseUrl: string | undefined,
  findings: Findings,
): Credentials | undefined {
  const client = (['UIPATH_CLIENT_ID', 'UIPATH_CLIENT_SECRET'] as const).filter((name) => raw.has(name));
  const hasToken = raw.has('UIPATH_ACCESS_TOKEN');
  const tokenUrl = client.length === 0 ? undefined : parseTokenUrl(baseUrl, values, findings);
  if (hasToken && client.length > 0) {
    const names = client.join(' and ');
    findings.problems.push(
      `UIPATH_ACCESS_TOKEN: expected a fixed token or a client, found UIPATH_ACCESS_TOKEN and ${names}. Remove ` +
        `UIPATH_ACCESS_TOKEN to use the client, which renews its token, or ${names} to use the fixed token.`,
    );
  } else if (!hasToken && client.length === 0) {
    findings.problems.push(
      'UIPATH_CLIENT_ID: expected credentials, found none. Set UIPATH_CLIENT_ID and UIPATH_CLIENT_SECRET of an ' +
        'external application, or a fixed token in UIPATH_ACCESS_TOKEN (each also as NAME_FILE).',
    );
  } else if (client.length === 1) {
    const [has] = client;
    const lacks = has === 'UIPATH_CLIENT_ID' ? 'UIPATH_CLIENT_SECRET' : 'UIPATH_CLIENT_ID';
    findings.problems.push(missing(lacks, `Set ${lacks} or ${lacks}_FILE, since ${has} is set.`));
  }
  const { UIPATH_CLIENT_ID: clientId, UIPATH_CLIENT_SECRET: clientSecret, UIPATH_SCOPE: scope } = values;
  const { UIPATH_ACCESS_TOKEN: accessToken } = values;
  if (accessToken !== undefined) return { kind: 'token', accessToken };
  if (!clientId || !clientSecret || !scope || !tokenUrl) return undefined;
  return { kind: 'client', clientId, clientSecret, scope, tokenUrl };
}

function parseTokenUrl(
  baseUrl: string | undefined,
  values: Partial<Values>,
  findings: Findings,
): string | undefined {
  const name = 'UIPATH_TOKEN_URL';
  const template = values[name];
  if (template === undefined) return undefined;
  const known = { base: baseUrl, organization: encoded(values.UIPATH_ORGANIZATION) };
  const address = replacePlaceholders(name, template, known, findings);
  if (address === undefined) return undefined;
  if (!isWebAddress(address)) {
    findings.problems.push(problemWith(name, address));
    return undefined;
  }
  checkEncryption(name, address, values, findings);
  return new URL(address).href;
}

/** Replaces the placeholders of `template` by `known`; `undefined` if one is unknown (a problem) or has no valid value. */
function replacePlaceholders(
  name: VariableName,
  template: string,
  known: Readonly<Record<string, string | undefined>>,
  findings: Findings,
): string | undefined {
  const placeholders = template.match(/\{[^{}]*\}|[{}]/g) ?? [];
  const allowed = Object.keys(known).map((key) => `{${key}}`);
  const unknown = placeholders.filter((placeholder) => !allowed.includes(placeholder));
  if (unknown.length > 0) {
    findings.problems.push(
      `${name}: expected no placeholder except ${allowed.join(' and ')}, found ${listFew(unknown)}. ` +
        'Replace it by its value.',
    );
  }
  if (placeholders.some((placeholder) => known[placeholder.slice(1, -1)] === undefined)) return undefined;
  return template.replace(/\{([^{}]*)\}/g, (_, key: string) => known[key]!);
}

function listFew(texts: readonly string[]): string {
  const [few, rest] = [texts.slice(0, MAX_LISTED), texts.length - MAX_LISTED];
  return few.map((text) => quote(text)).join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}

function encoded(segment: string | undefined): string | undefined {
  return segment === undefined ? undefined : encodeURIComponent(segment);
}

function checkEncryption(
  name: VariableName,
  address: string,
  values: Partial<Values>,
  findings: Findings,
): void {
  const { protocol, hostname } = new URL(address);
  const isLoopback = /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);
  if (protocol === 'https:' || isLoopback || values.UIPATH_ALLOW_HTTP !== false) return;
  findings.problems.push(
    `${name}: expected https, found ${quote(address)}. Use https, or set UIPATH_ALLOW_HTTP=true to send the token ` +
      'unencrypted.',
  );
}

function missing(name: VariableName, remedy: string): string {
  return `${name}: expected ${variableOf(name).kind.expected}, found nothing. ${remedy}`;
}
