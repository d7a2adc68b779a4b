/** Certificates made by openssl when a test runs. Their dates are fixed, so that no test depends on the day. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Pair {
  /** Paths of PEM files. */
  cert: string;
  key: string;
}

export interface Authority {
  /** Its own certificate. */
  cert: string;
  /** `names` as in a subjectAltName: `DNS:localhost,IP:127.0.0.1`. */
  issue(name: string, options: { names?: string; commonName?: string; until?: string }): Pair;
  /** Returns the file of a list that revokes `certs`. */
  revoke(name: string, certs: readonly string[]): string;
}

const FROM = '20000101000000Z';
export const FAR = '20991231235959Z';
export const LONG_AGO = '20010101000000Z';

/** A certificate authority whose files are in `directory`, which must exist. */
export function createAuthority(directory: string, authorityName: string): Authority {
  const home = join(directory, authorityName);
  mkdirSync(home);
  const at = (name: string) => join(home, name);
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  writeFileSync(at('index.txt'), '');
  writeFileSync(at('serial'), '1000\n');
  writeFileSync(at('crlnumber'), '1000\n');
  writeFileSync(
    at('ca.cnf'),
    `[ca]\ndefault_ca = own\n[own]\ndatabase = ${at('index.txt')}\nserial = ${at('serial')}\ncrlnumber = ${at('crlnumber')}\n` +
      `new_certs_dir = ${home}\ndefault_md = sha256\npolicy = any\nunique_subject = no\ncopy_extensions = copy\n` +
      `certificate = ${at('ca.crt')}\nprivate_key = ${at('ca.key')}\ndefault_crl_days = 36500\n[any]\ncommonName = supplied\n` +
      '[req]\ndistinguished_name = dn\n[dn]\n[v3_ca]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = keyCertSign,cRLSign\n',
  );
  const newKey = (path: string) =>
    openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', path);
  const request = (name: string, subject: string, names: string) =>
    openssl(
      ...['req', '-new', '-config', at('ca.cnf'), '-key', at(`${name}.key`), '-subj', `/CN=${subject}`],
      ...(names === '' ? [] : ['-addext', `subjectAltName=${names}`]),
      ...['-out', at(`${name}.csr`)],
    );
  const sign = (name: string, until: string, more: string[]) =>
    openssl(
      ...[
        'ca',
        '-batch',
        '-notext',
        '-config',
        at('ca.cnf'),
        '-in',
        at(`${name}.csr`),
        '-out',
        at(`${name}.crt`),
      ],
      ...['-startdate', FROM, '-enddate', until, ...more],
    );
  newKey(at('ca.key'));
  request('ca', authorityName, '');
  sign('ca', FAR, ['-selfsign', '-keyfile', at('ca.key'), '-extensions', 'v3_ca']);
  return {
    cert: at('ca.crt'),
    issue(name, { names = '', commonName = name, until = FAR }) {
      newKey(at(`${name}.key`));
      request(name, commonName, names);
      sign(name, until, []);
      return { cert: at(`${name}.crt`), key: at(`${name}.key`) };
    },
    revoke(name, certs) {
      for (const cert of certs) openssl('ca', '-config', at('ca.cnf'), '-revoke', cert);
      openssl('ca', '-config', at('ca.cnf'), '-gencrl', '-out', at(name));
      return at(name);
    },
  };
}
