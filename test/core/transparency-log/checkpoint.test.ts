import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  formatCheckpoint,
  openCheckpoint,
  originOf,
  parseCheckpoint,
  parseTrustedKeys,
  signCheckpoint,
  vkeyOf,
} from '../../../src/core/transparency-log/checkpoint.ts';
import { formatPublicKey, generatePrivateKey, publicKeyOf } from '../../../src/core/transparency-log/keys.ts';
import { leafHash } from '../../../src/core/transparency-log/merkle.ts';
import { signNote } from '../../../src/core/transparency-log/note.ts';
import { rejectionOf } from './rejection.ts';

const key = generatePrivateKey();
const otherKey = generatePrivateKey();
const pem = formatPublicKey(publicKeyOf(key));
const otherPem = formatPublicKey(publicKeyOf(otherKey));
const origin = originOf({ organization: 'acme', log: 'classic' });
const checkpoint = { origin, size: 12, root: leafHash('root'), extensions: [] };
const keysOf = (text: string) => parseTrustedKeys(text, '--key');

/** The example of c2sp.org/tlog-checkpoint, without its signature. */
const SPEC = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n';
const ROOT = 'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=';

test.each([
  [{ organization: 'acme', log: 'classic' }, 'uipath-audit-export/acme/classic'],
  [
    { organization: 'Acme + Söhne / "R&D"', log: 'tenant:a b' },
    'uipath-audit-export/Acme%20%2B%20S%C3%B6hne%20%2F%20%22R%26D%22/tenant%3Aa%20b',
  ],
  [{ organization: 'a%20b\n', log: '\u00a0' }, 'uipath-audit-export/a%2520b%0A/%C2%A0'],
])('the origin of %j is %s', (log, expected) => {
  expect(originOf(log)).toBe(expected);
});

test('every log has its own origin, and it can be the name of a key', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 });
  fc.assert(
    fc.property(text, text, text, text, (organization, log, organization2, log2) => {
      const own = originOf({ organization, log });
      expect(() => vkeyOf(own, publicKeyOf(key))).not.toThrow();
      const isSame = organization === organization2 && log === log2;
      expect(own === originOf({ organization: organization2, log: log2 })).toBe(isSame);
    }),
  );
});

describe('a checkpoint', () => {
  test('of the specification is parsed and written alike', () => {
    const parsed = parseCheckpoint(SPEC);
    expect(parsed).toEqual({
      origin: 'example.com/behind-the-sofa',
      size: 20_852_163,
      root: Buffer.from(ROOT, 'base64'),
      extensions: [],
    });
    expect(formatCheckpoint(parsed)).toBe(SPEC);
  });

  test('keeps its extension lines', () => {
    const parsed = parseCheckpoint(`${SPEC}one\n two \n`);
    expect(parsed.extensions).toEqual(['one', ' two ']);
    expect(formatCheckpoint(parsed)).toBe(`${SPEC}one\n two \n`);
  });

  test('of an origin with spaces is read, as the specification demands', () => {
    expect(parseCheckpoint(`go.sum database tree\n0\n${ROOT}\n`)).toMatchObject({
      origin: 'go.sum database tree',
      size: 0,
    });
  });

  test.each([
    ['', 'it has 0 lines of at least 3: origin, size and root'],
    ['log\n1\n', 'it has 2 lines of at least 3: origin, size and root'],
    [`log\n1\n${ROOT}`, 'its last line has no newline at its end'],
    [`\n1\n${ROOT}\n`, 'line 1 is empty'],
    [`log\n1\n${ROOT}\n\n`, 'line 4 is empty'],
    [`log\n1\n${ROOT}\n\nmore\n`, 'line 4 is empty'],
    ...[
      '01',
      '-1',
      '+1',
      '1.0',
      '1e3',
      ' 1',
      '1 ',
      '0x1',
      '9007199254740992',
      '18446744073709551615',
      '٣',
    ].map(
      (size) =>
        [
          `log\n${size}\n${ROOT}\n`,
          'line 2 is not the size of a tree: a decimal integer without leading zeros, below 2^53',
        ] as const,
    ),
    ...[
      ROOT.slice(0, -1),
      `${ROOT} `,
      ROOT.replace('2I=', '2J='),
      ROOT.replace('/', '_'),
      'AAAA',
      ROOT + ROOT,
    ].map((root) => [`log\n1\n${root}\n`, 'line 3 is not the root: 32 bytes in base64'] as const),
  ])('is not this text (%#)', (text, reason) => {
    expect(rejectionOf(() => parseCheckpoint(text))).toEqual([
      'configuration',
      `Cannot read the checkpoint: ${reason}.`,
    ]);
  });

  test.each([
    { origin: '' },
    { origin: 'two words' },
    { origin: 'a+b' },
    { origin: 'a\nb' },
    { size: -1 },
    { size: 1.5 },
    { size: 2 ** 53 },
    { root: Buffer.alloc(31) },
    { extensions: [''] },
    { extensions: ['a\nb'] },
  ])('is not written with %j', (wrong) => {
    expect(() => formatCheckpoint({ ...checkpoint, ...wrong })).toThrow(RangeError);
  });
});

describe('a signed checkpoint', () => {
  const note = signCheckpoint(checkpoint, [key]);

  test('is opened with the public key, as PEM and as verifier key', () => {
    for (const text of [
      pem,
      vkeyOf(origin, publicKeyOf(key)),
      `${otherPem}${pem}`,
      `\n${vkeyOf(origin, publicKeyOf(key))}\r\n`,
    ]) {
      const opened = openCheckpoint(note, keysOf(text));
      expect(opened.checkpoint).toEqual(checkpoint);
      expect(
        opened.signedBy.map(({ name, publicKey }) => [name, publicKey.equals(publicKeyOf(key))]),
      ).toEqual([[origin, true]]);
    }
  });

  test('with two keys, while one is replaced, is opened with either', () => {
    const rotated = signCheckpoint(checkpoint, [key, otherKey]);
    expect(openCheckpoint(rotated, keysOf(pem)).signedBy).toHaveLength(1);
    expect(openCheckpoint(rotated, keysOf(otherPem)).signedBy).toHaveLength(1);
    expect(
      openCheckpoint(rotated, keysOf(otherPem + pem)).signedBy.map(({ publicKey }) =>
        formatPublicKey(publicKey),
      ),
    ).toEqual([pem, otherPem]);
  });

  test('is not opened with another key, nor with the key for another log', () => {
    const other = originOf({ organization: 'acme', log: 'other' });
    for (const text of [otherPem, vkeyOf(origin, publicKeyOf(otherKey)), vkeyOf(other, publicKeyOf(key))]) {
      const [code, message] = rejectionOf(() => openCheckpoint(note, keysOf(text)));
      expect(code).toBe('configuration');
      expect(message).toContain('The signed note has no signature of a key that is trusted here.');
    }
  });

  test('of one log is not opened as one of another log, although the key is the same', () => {
    const moved = note.replaceAll('/acme/', '/acne/');
    const [code, message] = rejectionOf(() => openCheckpoint(moved, keysOf(pem)));
    expect([code, message.slice(0, 76)]).toEqual([
      'configuration',
      'The signed note has no signature of a key that is trusted here. It is signed',
    ]);
  });

  test('signed under the name of another log is rejected', () => {
    const text = formatCheckpoint(checkpoint);
    const wrong = signNote(text, [{ name: 'another/log', privateKey: key }]);
    expect(rejectionOf(() => openCheckpoint(wrong, keysOf(vkeyOf('another/log', publicKeyOf(key)))))).toEqual(
      [
        'configuration',
        `The checkpoint of log ${origin} is signed only by keys of other logs. Pass the key of this log.`,
      ],
    );
  });

  test('of an origin that is no key name is rejected', () => {
    const wrong = signNote(`two words\n1\n${ROOT}\n`, [{ name: 'two', privateKey: key }]);
    expect(rejectionOf(() => openCheckpoint(wrong, keysOf(pem)))).toEqual([
      'configuration',
      'Cannot read the checkpoint: its origin has a space or a plus sign, so no key has this name.',
    ]);
  });

  test.each([
    ['size', note.replace('\n12\n', '\n13\n')],
    ['root', note.replace(checkpoint.root.toString('base64'), leafHash('other').toString('base64'))],
    ['extension', note.replace('\n\n', '\nmore\n\n')],
  ])('with another %s is rejected', (_, changed) => {
    expect(changed).not.toBe(note);
    const [code, message] = rejectionOf(() => openCheckpoint(changed, keysOf(pem)));
    expect([code, message]).toEqual([
      'differences',
      expect.stringContaining('does not match the signed note'),
    ]);
  });
});

test('PEM and verifier keys are read from one text, whatever base64 they contain', () => {
  for (let round = 0; round < 50; round++) {
    const keys = [publicKeyOf(generatePrivateKey()), publicKeyOf(generatePrivateKey())] as const;
    const parsed = keysOf(`${formatPublicKey(keys[1])}\n ${vkeyOf(origin, keys[0])}\r\n`);
    expect(parsed.map(({ origin }) => origin)).toEqual([origin, null]);
    expect(parsed.map(({ publicKey }, at) => publicKey.equals(keys[at]!))).toEqual([true, true]);
  }
});

test.each([
  ['', '--key: expected an Ed25519 public key (PEM, SPKI)'],
  ['a+b', '--key: expected an Ed25519 public key (PEM, SPKI)'],
  ['a+b+c', '--key: expected an Ed25519 verifier key (NAME+KEY_ID+BASE64)'],
  [
    `${vkeyOf(origin, publicKeyOf(key))}\na+00000000+AAAA`,
    '--key: expected an Ed25519 verifier key (NAME+KEY_ID+BASE64)',
  ],
  [`${pem}text`.replace('-----END', '---'), '--key: expected an Ed25519 public key (PEM, SPKI)'],
  [
    `${vkeyOf(origin, publicKeyOf(key))}
text`,
    '--key: expected an Ed25519 public key (PEM, SPKI)',
  ],
])('a text that is no key is rejected (%#)', (text, start) => {
  const [code, message] = rejectionOf(() => keysOf(text));
  expect([code, message.slice(0, start.length)]).toEqual(['configuration', start]);
});
