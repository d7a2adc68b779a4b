import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import {
  fingerprintOf,
  formatPrivateKey,
  formatPublicKey,
  generatePrivateKey,
  parsePrivateKeys,
  parsePublicKeys,
  publicKeyOf,
} from '../../../src/core/transparency-log/keys.ts';
import { rejectionOf } from './rejection.ts';

// `openssl genpkey -algorithm ed25519`, `openssl pkey -pubout`, and the `sha256sum` of its DER.
const OPENSSL_PRIVATE = `-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEII51iIvK+gIO2mA9XjQG8N8Hu3V7IzyBaGunWnUj43i+
-----END PRIVATE KEY-----
`;
const OPENSSL_PUBLIC = `-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAlhu9wSg0bubOC/S5+XQWUZMAEOow4XvfxB/tFN1a+UI=
-----END PUBLIC KEY-----
`;
const OPENSSL_FINGERPRINT = '24539801057f9867f3cebb62b57fe8e6bd92303b00346795dd6fe3a4ac6da469';

const key = generatePrivateKey();
const [privatePem, publicPem] = [formatPrivateKey(key), formatPublicKey(publicKeyOf(key))];
const other = formatPrivateKey(generatePrivateKey());

const pkcs8 = { type: 'pkcs8', format: 'pem' } as const;
const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 });
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const privateOf = ({ privateKey }: { privateKey: KeyObject }) => privateKey.export(pkcs8).toString();
const publicOf = ({ publicKey }: { publicKey: KeyObject }) =>
  publicKey.export({ type: 'spki', format: 'pem' }).toString();
const cutOff = privatePem.slice(0, 60);
const VKEY = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const SSH_PUBLIC =
  'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtVpTqyWvX9LKJBKCgTQHZ0iKpP8yS8jd4yyp5UlA1L me@host\n';
const block = (label: string, body = 'AAAA') => `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;

/** Texts that are neither a private nor a public key. */
const NO_KEYS: [string, string][] = [
  ['', 'an empty text'],
  [' \n\n', 'an empty text'],
  [cutOff, 'a PEM block that is cut off or damaged'],
  [privatePem.replace('END PRIVATE', 'END PUBLIC'), 'a PEM block that is cut off or damaged'],
  [privatePem + cutOff, 'a PEM block that is cut off or damaged'],
  [Buffer.from(privatePem, 'utf16le').toString(), 'binary data, perhaps DER or UTF-16'],
  [key.export({ type: 'pkcs8', format: 'der' }).toString(), 'binary data, perhaps DER or UTF-16'],
  [
    'PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr',
    'a signer key of signed notes (PRIVATE+KEY+...)',
  ],
  [VKEY, 'a verifier key of signed notes (NAME+ID+KEY)'],
  [SSH_PUBLIC, 'an OpenSSH public key'],
  [JSON.stringify(key.export({ format: 'jwk' })), 'JSON'],
  ['correct horse battery staple', 'another text'],
  [block('OPENSSH PRIVATE KEY'), 'an OpenSSH private key'],
  [block('CERTIFICATE'), 'a certificate'],
  [block('X509 CERTIFICATE'), 'a certificate'],
  [block('CERTIFICATE REQUEST'), 'a PEM block of another kind'],
  [block('PGP PRIVATE KEY BLOCK'), 'a PEM block of another kind'],
  [rsa.privateKey.export({ type: 'pkcs1', format: 'pem' }).toString(), 'an RSA private key'],
  [rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString(), 'an RSA public key'],
  [ec.privateKey.export({ type: 'sec1', format: 'pem' }).toString(), 'an EC private key'],
  [block('EC PARAMETERS'), 'the parameters of an EC key'],
  [
    key.export({ ...pkcs8, cipher: 'aes-256-cbc', passphrase: 'p' }).toString(),
    'an encrypted private key. Decrypt it: `openssl pkey -in FILE -out NEW_FILE`',
  ],
  [
    rsa.privateKey
      .export({ type: 'pkcs1', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'p' })
      .toString(),
    'an encrypted private key. Decrypt it: `openssl pkey -in FILE -out NEW_FILE`',
  ],
];

describe('a private key', () => {
  test.each([
    ['as it was written', privatePem],
    ['with the line ends of Windows', privatePem.replaceAll('\n', '\r\n')],
    ['without a final newline', privatePem.trimEnd()],
    ['with text around it', `# The key of the ledger\n${privatePem}\nend\n`],
  ])('is parsed %s', (_, text) => {
    const [parsed, ...more] = parsePrivateKeys(text, 'F');
    expect(parsed!.equals(key)).toBe(true);
    expect(more).toEqual([]);
  });

  test('may be one of several, in the order of the file', () => {
    expect(parsePrivateKeys(other + privatePem, 'F').map(formatPrivateKey)).toEqual([other, privatePem]);
  });

  test('of OpenSSL has the public key and the fingerprint that OpenSSL prints', () => {
    const [parsed] = parsePrivateKeys(OPENSSL_PRIVATE, 'F');
    expect(formatPrivateKey(parsed!)).toBe(OPENSSL_PRIVATE);
    expect(formatPublicKey(publicKeyOf(parsed!))).toBe(OPENSSL_PUBLIC);
    expect(fingerprintOf(publicKeyOf(parsed!))).toBe(OPENSSL_FINGERPRINT);
  });

  test.each([
    ...NO_KEYS,
    [publicPem, 'a public key'],
    [privatePem + publicPem, 'a public key'],
    [privatePem + other + privatePem, 'the same key twice'],
    [block('PRIVATE KEY'), 'a damaged PEM block (PRIVATE KEY)'],
    [privatePem.replace('MC4C', 'MC5C'), 'a damaged PEM block (PRIVATE KEY)'],
    [privateOf(rsa), 'an RSA private key'],
    [privateOf(generateKeyPairSync('rsa-pss', { modulusLength: 1024 })), 'an RSA-PSS private key'],
    [privateOf(ec), 'an EC private key'],
    [privateOf(generateKeyPairSync('ed448')), 'an Ed448 private key'],
    [privateOf(generateKeyPairSync('x25519')), 'an X25519 private key'],
    [privateOf(generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 })), 'a DSA private key'],
  ])('is not in this text (%#)', (text, found) => {
    expect(rejectionOf(() => parsePrivateKeys(text, 'EXPORT_LEDGER_KEY_FILE (/run/key.pem)'))).toEqual([
      'configuration',
      'EXPORT_LEDGER_KEY_FILE (/run/key.pem): expected an Ed25519 private key (PEM, PKCS#8), as `ledger keygen` or ' +
        `\`openssl genpkey -algorithm ed25519\` writes it; found ${found}.`,
    ]);
  });
});

describe('a public key', () => {
  test('is parsed as it was written', () => {
    const [parsed, ...more] = parsePublicKeys(publicPem, 'F');
    expect(parsed!.equals(publicKeyOf(key))).toBe(true);
    expect(more).toEqual([]);
  });

  test.each([
    ...NO_KEYS,
    [privatePem, 'a private key. Keep it secret, and pass the public key here'],
    [publicPem + publicPem, 'the same key twice'],
    [block('PUBLIC KEY'), 'a damaged PEM block (PUBLIC KEY)'],
    [publicOf(rsa), 'an RSA public key'],
    [publicOf(ec), 'an EC public key'],
  ])('is not in this text (%#)', (text, found) => {
    expect(rejectionOf(() => parsePublicKeys(text, '--key'))).toEqual([
      'configuration',
      '--key: expected an Ed25519 public key (PEM, SPKI), as `openssl pkey -in PRIVATE_KEY_FILE -pubout` prints it; ' +
        `found ${found}.`,
    ]);
  });
});

test('no message contains a part of the text', () => {
  for (const [text] of [...NO_KEYS, [privatePem + publicPem], [privatePem.replace('MC4C', 'MC5C')]]) {
    const [, message] = rejectionOf(() => parsePrivateKeys(text!, 'F'));
    const words = text!.split(/\s+/).filter((word) => word.length >= 16);
    expect(words.filter((word) => message.includes(word))).toEqual([]);
  }
});
