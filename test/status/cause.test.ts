import { expect, test } from '@jest/globals';
import { causeOf } from '../../src/status/cause.ts';

test.each([
  [
    'No token: https://cloud.uipath.com/beta/identity_/connect/token responded with HTTP 400 "invalid_client". Check UIPATH_CLIENT_ID.',
    'invalid_client',
  ],
  [
    'No usable response from https://h/x after 8 attempts: HTTP 503. No data is lost: the next run continues.',
    'HTTP 503',
  ],
  [
    'No response from https://h/x after 8 attempts: ECONNREFUSED: connect ECONNREFUSED 127.0.0.1:1. No data is lost',
    'ECONNREFUSED',
  ],
  [
    'No response from https://h/x after 8 attempts: EAI_AGAIN: getaddrinfo EAI_AGAIN h. No data is lost',
    'EAI_AGAIN',
  ],
  [
    'No response from https://h/x after 8 attempts: timeout after 30 s. No data is lost',
    'timeout after 30 s',
  ],
  [
    'The certificate of h is not trusted (CERT_HAS_EXPIRED: certificate has expired). If a private',
    'CERT_HAS_EXPIRED',
  ],
  ['The process exited without recording an outcome.', 'The process exited without recording an outcome'],
  [
    'The source ignored sortOrder=asc: check that UIPATH_AUDIT_PATH names it.',
    'The source ignored sortOrder=asc',
  ],
  [`${'word '.repeat(30)}.`, `${'word '.repeat(15)}word…`],
  ['', ''],
])('of %j it is %j', (message, cause) => {
  expect(causeOf(message)).toBe(cause);
});
