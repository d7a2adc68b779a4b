import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ExportError } from '../../../src/core/errors.ts';
import {
  generatePrivateKey,
  parsePrivateKeys,
  publicKeyOf,
} from '../../../src/core/transparency-log/keys.ts';
import {
  formatVkey,
  openNote,
  parseNote,
  parseVkey,
  signNote,
  verifierOf,
} from '../../../src/core/transparency-log/note.ts';
import { rejectionOf } from './rejection.ts';

/** The example of c2sp.org/signed-note. */
const SPEC_VKEY = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';
const SPEC_NOTE = `This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
`;
/** The example of golang.org/x/mod/sumdb/note. The private key is `PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALV...`. */
const GO_VKEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const GO_SEED = Buffer.from('AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz', 'base64').subarray(1);
const GO_TEXT =
  "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_SIGNATURE =
  'x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=';
const GO_NOTE = `${GO_TEXT}\n— PeterNeumann ${GO_SIGNATURE}\n`;

const alice = { name: 'example.com/alice', privateKey: generatePrivateKey() };
const bob = { name: 'example.com/bob', privateKey: generatePrivateKey() };
const verifierFor = ({ name, privateKey }: typeof alice) => verifierOf(name, publicKeyOf(privateKey));
const [aliceVerifier, bobVerifier] = [verifierFor(alice), verifierFor(bob)];

function goSigner() {
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), GO_SEED]).toString(
    'base64',
  );
  const pem = `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`;
  return { name: 'PeterNeumann', privateKey: parsePrivateKeys(pem, 'Go')[0]! };
}

describe('a note of others', () => {
  test.each([
    [SPEC_NOTE, SPEC_VKEY, 'This is an example message.\n'],
    [GO_NOTE, GO_VKEY, GO_TEXT],
  ])('is opened with their verifier key (%#)', (note, vkey, text) => {
    const verifier = parseVkey(vkey, 'V');
    expect(formatVkey(verifier)).toBe(vkey);
    expect(openNote(note, [verifier])).toEqual({ text, signedBy: [verifier] });
    expect(openNote(Buffer.from(note), [verifier]).text).toBe(text);
  });

  test('has the signature that this program writes with the same key', () => {
    expect(signNote(GO_TEXT, [goSigner()])).toBe(GO_NOTE);
    expect(formatVkey(verifierFor(goSigner()))).toBe(GO_VKEY);
  });
});

describe('a signed note', () => {
  const text = 'First line\n\nThird line — with a dash\n';
  const note = signNote(text, [alice, bob]);

  test('is opened by each of its keys, and by both', () => {
    expect(openNote(note, [aliceVerifier])).toEqual({ text, signedBy: [aliceVerifier] });
    expect(openNote(note, [bobVerifier])).toEqual({ text, signedBy: [bobVerifier] });
    expect(openNote(note, [bobVerifier, aliceVerifier])).toEqual({
      text,
      signedBy: [aliceVerifier, bobVerifier],
    });
  });

  test('of any text is opened with this text', () => {
    const line = fc.string({ unit: 'binary' }).map((raw) => raw.replace(/\p{Cc}/gu, ''));
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 4 }), (lines) => {
        const any = `${lines.join('\n')}\n`;
        expect(openNote(Buffer.from(signNote(any, [alice])), [aliceVerifier]).text).toBe(any);
      }),
    );
  });

  test('is rejected when any one of its bytes is changed', () => {
    const bytes = Buffer.from(signNote('Short\n', [alice]));
    for (const at of bytes.keys()) {
      for (const mask of [1, 2, 32, 128]) {
        const changed = Buffer.from(bytes);
        changed[at]! ^= mask;
        expect(() => openNote(changed, [aliceVerifier])).toThrow(ExportError);
      }
    }
  });

  test('is opened with signatures of unknown keys, even under a known name, or with a known id', () => {
    const [own] = signNote(text, [alice]).split('\n').slice(-2);
    const unknown = [
      `— example.com/witness ${Buffer.alloc(5, 9).toString('base64')}`,
      `— ${alice.name} ${Buffer.alloc(68, 9).toString('base64')}`,
      `— ${bob.name} ${Buffer.from(`${aliceVerifier.keyId}ff`, 'hex').toString('base64')}`,
    ];
    for (const lines of [
      [...unknown, own],
      [own, ...unknown],
    ]) {
      expect(openNote([text, ...lines, ''].join('\n'), [aliceVerifier]).signedBy).toEqual([aliceVerifier]);
    }
  });

  test('with a wrong signature of one known key is rejected, although the other is right', () => {
    const other = signNote('Other\n', [bob]).split('\n').at(-2);
    const mixed = `${signNote(text, [alice])}${other}\n`;
    expect(openNote(mixed, [aliceVerifier]).signedBy).toEqual([aliceVerifier]);
    expect(rejectionOf(() => openNote(mixed, [aliceVerifier, bobVerifier]))).toEqual([
      'differences',
      `The signature of example.com/bob (key ${bobVerifier.keyId}) does not match the signed note: the text or the signature was changed.`,
    ]);
  });

  test('that no trusted key signed is rejected with the names of both', () => {
    const strangers = verifierOf(alice.name, publicKeyOf(bob.privateKey));
    expect(rejectionOf(() => openNote(note, [strangers]))).toEqual([
      'configuration',
      'The signed note has no signature of a key that is trusted here. It is signed by ' +
        `example.com/alice+${aliceVerifier.keyId}, example.com/bob+${bobVerifier.keyId}; trusted: ` +
        `example.com/alice+${strangers.keyId}. Pass the public key of the log that signed it, if you trust it.`,
    ]);
    expect(rejectionOf(() => openNote(note, []))[1]).toContain('; trusted: none.');
  });

  test('may have 100 signatures and no more', () => {
    const line = note.split('\n').at(-2);
    const full = `${signNote(text, [alice])}${`${line}\n`.repeat(99)}`;
    expect(openNote(full, [aliceVerifier, bobVerifier]).signedBy).toEqual([aliceVerifier, bobVerifier]);
    expect(rejectionOf(() => openNote(`${full}${line}\n`, [aliceVerifier]))).toEqual([
      'configuration',
      'Cannot read the signed note: it has 101 signatures; the limit is 100.',
    ]);
  });
});

const signature = `— ${alice.name} ${Buffer.alloc(68).toString('base64')}`;
const NO_SIGNATURE = 'line 1 after the text is no signature (— KEY_NAME BASE64)';

test.each<[string | Buffer, string]>([
  ['', 'no empty line separates the text from its signatures'],
  ['Text\n', 'no empty line separates the text from its signatures'],
  [`Text\n${signature}\n`, 'no empty line separates the text from its signatures'],
  ['Text\n\n', 'no signature follows the last empty line'],
  [`Text\n\n${signature}\n\n`, 'no signature follows the last empty line'],
  [`Text\n\n${signature}`, 'the last line has no newline at its end'],
  [`Text\r\n\r\n${signature}\r\n`, 'it has carriage returns. Save it with the line ends of Unix (LF)'],
  [`Te\txt\n\n${signature}\n`, 'it contains a control character or half a surrogate pair'],
  [`Te\0xt\n\n${signature}\n`, 'it contains a control character or half a surrogate pair'],
  [`Te\x1fxt\n\n${signature}\n`, 'it contains a control character or half a surrogate pair'],
  [`Te\ud800xt\n\n${signature}\n`, 'it contains a control character or half a surrogate pair'],
  [Buffer.concat([Buffer.from([0xff]), Buffer.from(`Text\n\n${signature}\n`)]), 'it is not UTF-8'],
  [Buffer.concat([Buffer.from([0xc0, 0x80]), Buffer.from(`Text\n\n${signature}\n`)]), 'it is not UTF-8'],
  [
    Buffer.concat([Buffer.from([0xed, 0xa0, 0x80]), Buffer.from(`Text\n\n${signature}\n`)]),
    'it is not UTF-8',
  ],
  [`Text\n\n${signature.replace('—', '-')}\n`, NO_SIGNATURE],
  [`Text\n\n${signature.replace('—', '–')}\n`, NO_SIGNATURE],
  [`Text\n\n${signature.replace('— ', '—  ')}\n`, NO_SIGNATURE],
  [`Text\n\n ${signature}\n`, NO_SIGNATURE],
  [`Text\n\n${signature} \n`, NO_SIGNATURE],
  [`Text\n\n${signature} more\n`, NO_SIGNATURE],
  [`Text\n\n${signature.replace('alice', 'al+ice')}\n`, NO_SIGNATURE],
  [`Text\n\n${signature.replace('alice', 'al\u00a0ice')}\n`, NO_SIGNATURE],
  [`Text\n\n${signature.replace('alice', 'al\u0085ice')}\n`, NO_SIGNATURE],
  [`Text\n\n${signature.replace('alice', 'al\u2028ice')}\n`, NO_SIGNATURE],
  [`Text\n\n${signature}*\n`, NO_SIGNATURE],
  [`Text\n\n${signature.replaceAll('=', '')}\n`, NO_SIGNATURE],
  [`Text\n\n${signature.replace('AA=', 'AB=')}\n`, NO_SIGNATURE],
  [`Text\n\n— ${alice.name} AAAAAA==\n`, NO_SIGNATURE],
  [`Text\n\n— ${alice.name} \n`, NO_SIGNATURE],
  [`Text\n\n— ${alice.name}\n`, NO_SIGNATURE],
  [`Text\n\n${signature}\nText\n`, NO_SIGNATURE.replace('1', '2')],
])('a malformed note is rejected (%#)', (note, reason) => {
  const expected = ['configuration', `Cannot read the signed note: ${reason}.`];
  expect(rejectionOf(() => parseNote(note))).toEqual(expected);
  expect(rejectionOf(() => openNote(note, [aliceVerifier]))).toEqual(expected);
});

test.each(['', 'no newline', 'tab\t\n', 'carriage return\r\n', '\ud800\n'])(
  'a text that no note can have is not signed (%#)',
  (text) => {
    expect(() => signNote(text, [alice])).toThrow(RangeError);
  },
);

test.each(['', 'two words', 'a+b', 'a\nb', 'a\u00a0b', 'a\u3000b', 'a\0b'])(
  'a key has no such name (%#)',
  (name) => {
    expect(() => verifierOf(name, publicKeyOf(alice.privateKey))).toThrow(RangeError);
  },
);

describe('a verifier key', () => {
  test.each([
    ['', 'a text without two plus signs'],
    ['PeterNeumann+c74f20a3', 'a text without two plus signs'],
    [GO_VKEY.replace('PeterNeumann', ''), 'a name that is empty or contains a space'],
    [GO_VKEY.replace('PeterNeumann', 'Peter Neumann'), 'a name that is empty or contains a space'],
    [` ${GO_VKEY}`, 'a name that is empty or contains a space'],
    [GO_VKEY.replace('c74f20a3', 'c74f20a'), 'a key id other than 8 lowercase hex digits'],
    [GO_VKEY.replace('c74f20a3', 'C74F20A3'), 'a key id other than 8 lowercase hex digits'],
    [GO_VKEY.replace('c74f20a3', 'c74f20a4'), 'a key id of another name or key'],
    [GO_VKEY.replace('PeterNeumann', 'PeterNeumans'), 'a key id of another name or key'],
    [GO_VKEY.replace('Rpc2', 'Rpc3'), 'a key id of another name or key'],
    [`${GO_VKEY}\n`, 'a key that is not base64'],
    [`${GO_VKEY}*`, 'a key that is not base64'],
    ['PeterNeumann+c74f20a3+', 'a key that is not base64'],
    ['PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW', 'a key of signature type 101'],
    ['PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADK', 'a key of 35 bytes'],
  ])('is not this text (%#)', (vkey, found) => {
    expect(rejectionOf(() => parseVkey(vkey, '--key'))).toEqual([
      'configuration',
      `--key: expected an Ed25519 verifier key (NAME+KEY_ID+BASE64), found ${found}.`,
    ]);
  });

  test('of one key has another id under each name', () => {
    const publicKey = publicKeyOf(alice.privateKey);
    expect(verifierOf('log/a', publicKey).keyId).not.toBe(verifierOf('log/b', publicKey).keyId);
  });
});

test('a second signature of a known key is verified, too', () => {
  const note = signNote('text\n', [alice]);
  const other = signNote('other\n', [alice]).split('\n').at(-2)!;
  expect(() => openNote(`${note}${other}\n`, [aliceVerifier])).toThrow('does not match the signed note');
});
