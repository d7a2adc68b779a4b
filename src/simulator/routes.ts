/** The kind of a request; `portal` is every path that the server does not know. */
type Route = 'token' | 'list' | 'portal';

/** Matches the documented paths, ignoring case, with or without a `/` at the end. */
export function createRouter(organization: string, partitionGlobalId: string): (path: string) => Route {
  const org = `/${escapePath(organization)}`;
  const guid = escapePath(partitionGlobalId);
  const token = new RegExp(`^(${org})?/identity_?/connect/token$`, 'i');
  const list = new RegExp(
    `^(${org}(/[^/]+)?/audit_/api/auditlogs|(${org})?/audit_/api/auditlogs/${guid}|(${org})?/portal_/api/auditLog/${guid}|(${org})?/identity_/api/AuditQuery/${guid})/?$`,
    'i',
  );
  return (path) => (token.test(path) ? 'token' : list.test(path) ? 'list' : 'portal');
}

function escapePath(text: string): string {
  return encodeURI(text).replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
