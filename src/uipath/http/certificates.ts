/** Explicit, so that NODE_TLS_REJECT_UNAUTHORIZED=0, set for another program, does not expose the token to an interceptor. */
export const VERIFIED = { keepAlive: true, rejectUnauthorized: true };

/** Certificate errors that a retry cannot resolve. */
export const CERTIFICATE_CODES: ReadonlySet<string> = new Set([
  'CERT_HAS_EXPIRED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);
