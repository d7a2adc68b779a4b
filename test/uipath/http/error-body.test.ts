import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseErrorBody } from '../../../src/uipath/http/error-body.ts';

test.each([
  [
    'message, errorCode, traceId',
    '{"message":"Too many","errorCode":1015,"traceId":"00-a1"}',
    { message: 'Too many', traceId: '00-a1', code: null },
  ],
  [
    'RFC 7807 with its errors',
    '{"title":"Invalid","status":400,"errors":{"top":["must be positive","x"],"skip":"odd"},"traceId":"00-a2"}',
    { message: 'Invalid; top: must be positive; skip: odd', traceId: '00-a2', code: null },
  ],
  [
    'RFC 7807 with a detail',
    '{"title":"Busy","detail":"Come back"}',
    { message: 'Busy; Come back', traceId: null, code: null },
  ],
  ['errorMessage', '{"errorMessage":"No such"}', { message: 'No such', traceId: null, code: null }],
  [
    'error with code and message',
    '{"error":{"code":"Gone","message":"No more","traceId":"00-a3"}}',
    { message: 'No more', traceId: '00-a3', code: null },
  ],
  ['error with a code alone', '{"error":{"code":"Gone"}}', { message: 'Gone', traceId: null, code: null }],
  [
    'OAuth with a description',
    '{"error":"invalid_scope","error_description":"Not yours"}',
    { message: 'Not yours', traceId: null, code: 'invalid_scope' },
  ],
  [
    'OAuth',
    '{"error":"invalid_client"}',
    { message: 'invalid_client', traceId: null, code: 'invalid_client' },
  ],
  [
    'a gateway page',
    '<!DOCTYPE html><html><head><TITLE lang="en">502\n Bad  Gateway</TITLE></head></html>',
    { message: '502 Bad Gateway', traceId: null, code: null },
  ],
  ['a page without a title', '<html><body>Oops', { message: null, traceId: null, code: null }],
  [
    'plain text',
    ' upstream connect error\u0007 ',
    { message: 'upstream connect error', traceId: null, code: null },
  ],
  ['a JSON string', '"Unauthorized"', { message: 'Unauthorized', traceId: null, code: null }],
  ['nothing', '', { message: null, traceId: null, code: null }],
  ['other JSON', '[1]', { message: null, traceId: null, code: null }],
  [
    'fields of other types',
    '{"message":5,"error":[],"traceId":{}}',
    { message: null, traceId: null, code: null },
  ],
])('%s', (_shape, text, expected) => {
  expect(parseErrorBody(text)).toMatchObject(expected);
});

test('a long message is cut', () => {
  const { message } = parseErrorBody(JSON.stringify({ message: 'x'.repeat(1_000_000) }));
  expect(message).toBe(`${'x'.repeat(299)}…`);
});

test('the message of any body is one line of at most 300 characters', () => {
  const body = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.json(),
    fc.string().map((text) => `<title>${text}</title>`),
  );
  fc.assert(
    fc.property(body, (text) => {
      const { message, traceId } = parseErrorBody(text);
      for (const found of [message, traceId]) {
        expect(found ?? 'x').toMatch(/^\P{Cc}{1,300}$/su);
      }
    }),
  );
});
