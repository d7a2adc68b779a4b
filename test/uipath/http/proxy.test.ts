import { expect, test } from '@jest/globals';
import { describeRoute, findProxy, proxySecrets } from '../../../src/uipath/http/proxy.ts';

const proxy = 'http://proxy:3128';
const target = 'https://cloud.uipath.com/x';

test.each([
  [target, { HTTPS_PROXY: proxy }, 'proxy:3128 (HTTPS_PROXY)'],
  [target, { https_proxy: proxy, HTTPS_PROXY: 'http://other' }, 'proxy:3128 (https_proxy)'],
  [target, { HTTPS_PROXY: proxy, all_proxy: 'http://other' }, 'proxy:3128 (HTTPS_PROXY)'],
  [target, { https_proxy: ' ', all_proxy: 'proxy:1', ALL_PROXY: 'http://other' }, 'proxy:1 (all_proxy)'],
  [target, { ALL_PROXY: 'https://proxy' }, 'proxy:443 (ALL_PROXY)'],
  [target, { HTTPS_PROXY: 'proxy' }, 'proxy:80 (HTTPS_PROXY)'],
  [target, { HTTPS_PROXY: 'HTTP://[::1]:3128/' }, '[::1]:3128 (HTTPS_PROXY)'],
  [target, { HTTP_PROXY: proxy, http_proxy: proxy }, undefined],
  [target, {}, undefined],
  [target, { HTTPS_PROXY: '' }, undefined],
  ['http://cloud.uipath.com/x', { HTTPS_PROXY: proxy, HTTP_PROXY: proxy, ALL_PROXY: proxy }, undefined],
])('%s with %j goes through %s', (url, environment, expected) => {
  const found = findProxy(url, environment);
  expect(found && `${found.name} (${found.variable})`).toBe(expected);
});

const HOSTS: Record<string, { yes: string[]; no: string[] }> = {
  'cloud.uipath.com': {
    yes: [
      '*',
      'cloud.uipath.com',
      'a.b, Cloud.UiPath.com',
      'a.b cloud.uipath.com',
      'a.b;cloud.uipath.com',
      ' ,, cloud.uipath.com,,',
      'uipath.com',
      '.uipath.com',
      '*.uipath.com',
      'uipath.com.',
      '.uipath.com.',
      '*.uipath.com.',
      'uipath.com:443',
      '*.uipath.com:443',
      'cloud.*',
      'cl*.uipath.com',
      '*:443',
      'https://cloud.uipath.com/',
    ],
    no: [
      '',
      'path.com,,',
      'uipath.com:8443',
      'x.cloud.uipath.com',
      'cloud.uipath.com.example',
      '0.0.0.0/0',
      '::/0',
      'cloudXuipath.com',
      'uipath.*',
      '127.*',
      ':443',
      '.',
    ],
  },
  'cloud.uipath.com.': { yes: ['cloud.uipath.com', '.uipath.com', '*.uipath.com.'], no: ['path.com'] },
  'cloud.uipath.com:8443': { yes: ['uipath.com:8443', 'uipath.com'], no: ['uipath.com:443'] },
  'bücher.example': { yes: ['BÜCHER.example', 'xn--bcher-kva.example', '.example'], no: ['bucher.example'] },
  '10.1.2.3': {
    yes: [
      '10.1.2.3',
      '10.1.2.3.',
      '10.0.0.0/8',
      '10.1.2.3/32',
      '10.1.2.0/24',
      '0.0.0.0/0',
      '10.*',
      '10.1.*.3',
      '10.1.2.3:443',
      '::ffff:10.1.2.3',
      '[::ffff:a01:203]',
      '::ffff:10.0.0.0/104',
    ],
    no: [
      '10.1.2.4',
      '10.1.3.0/24',
      '10.1.2.3:80',
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/8/8',
      '10.0.0/8x',
      '10',
      '.2.3',
      '2.3',
      '*.2.3.4',
      '110.*',
      'fd00::/8',
    ],
  },
  '127.0.0.1': { yes: ['127.*', '127.0.0.0/8', '127.1', '127.0.0.1'], no: ['localhost', '128.*', '::1'] },
  '[::1]': {
    yes: ['::1', '[::1]', '[::1]:443', '0:0:0:0:0:0:0:1', '::1/128', '[::1]/128', '::/0'],
    no: ['::2', '[::1]:80', '127.0.0.1', ':1', '1'],
  },
  '[fd12:3456::7]': {
    yes: ['fd00::/8', 'FD12:3456::/32', '[fd12::]/16', 'fd12:3456:0::7'],
    no: ['fe80::/10', 'fd12:3456::/129', '10.0.0.0/8', 'fd13::/16'],
  },
  '[::ffff:10.1.2.3]': { yes: ['10.1.2.3', '10.0.0.0/8'], no: ['10.1.2.4', '11.0.0.0/8'] },
  localhost: { yes: ['localhost', 'LOCALHOST.', 'localhost:443'], no: ['127.0.0.1', 'local'] },
};

const CASES = Object.entries(HOSTS).flatMap(([host, { yes, no }]) => [
  ...yes.map((entry) => [host, entry, true] as const),
  ...no.map((entry) => [host, entry, false] as const),
]);

test.each(CASES)('https://%s with NO_PROXY=%j uses no proxy: %s', (host, noProxy, isExcluded) => {
  for (const variable of ['NO_PROXY', 'no_proxy']) {
    const found = findProxy(`https://${host}/x`, { HTTPS_PROXY: proxy, [variable]: noProxy });
    expect(found === undefined).toBe(isExcluded);
  }
});

/** The login that the proxy receives. */
function loginOf(value: string): string {
  const { authorization, name } = findProxy(target, { HTTPS_PROXY: value })!;
  expect(name).toBe('proxy:3128');
  return Buffer.from(authorization!.replace(/^Basic /, ''), 'base64').toString();
}

test.each([
  ['user', 'secret'],
  ['DOMAIN\\user', 'pass\\word'],
  ['user@example.org', 'p@ss@word'],
  ['user', 'a:b::c'],
  ['user', 'a#b?c/d'],
  ['user', '50%'],
  ['user', '%%zz%4'],
  ['ä€', 'пароль 🔑'],
  ['user', ' "\'<>{}|^`[]+&=;'],
  ['user', ''],
])('the login %j %j works percent-encoded and as written', (user, password) => {
  const encoded = `${encodeURIComponent(user)}:${encodeURIComponent(password)}`;
  expect(loginOf(`http://${encoded}@proxy:3128`)).toBe(`${user}:${password}`);
  expect(loginOf(`${encoded}@proxy:3128`)).toBe(`${user}:${password}`);
  expect(loginOf(`http://${user}:${password}@proxy:3128`)).toBe(`${user}:${password}`);
});

test.each([
  ['http://user:hunter2@:bad:', /is not a URL such as http:\/\/proxy\.example\.org:3128/],
  ['http://user:hunter2@', /is not a URL/],
  ['http://user:hunter2@a b', /is not a URL/],
  ['http://user:hunter2@proxy:99999', /is not a URL/],
  ['socks5://user:hunter2@proxy:1080', /names a SOCKS proxy, which is not supported/],
  ['ftp://user:hunter2@proxy', /names no HTTP proxy/],
  ['http://user:hunter2%40%@proxy', /a % that belongs to no percent-encoded UTF-8\. Write %25 for %/],
  ['http://user:hunter2%E9@proxy', /percent-encoded UTF-8/],
  ['http://us%3Aer:hunter2@proxy', /a user name with a colon/],
])('%s is refused, and the message quotes no password', (value, message) => {
  for (const variable of ['HTTPS_PROXY', 'all_proxy']) {
    const find = () => findProxy(target, { [variable]: value });
    expect(find).toThrow(message);
    expect(find).toThrow(new RegExp(`^${variable} `));
    expect(find).not.toThrow('hunter2');
  }
});

test('the route is described without login', () => {
  const environment = { HTTPS_PROXY: 'http://user:hunter2@proxy:3128', NO_PROXY: '.intern' };
  expect(describeRoute(target, environment)).toBe(
    'cloud.uipath.com through the proxy proxy:3128 (HTTPS_PROXY)',
  );
  expect(describeRoute('https://a.intern', environment)).toBe(
    'a.intern without a proxy, because of NO_PROXY',
  );
  expect(describeRoute('http://b', environment)).toBe('b without a proxy, because its URL is not https');
  expect(describeRoute(target, {})).toBeUndefined();
});

test('the password of a proxy is a secret as written, decoded and as sent', () => {
  const encode = (login: string) => Buffer.from(login).toString('base64');
  const expected = ['p%40ss+word', 'p@ss+word', encode('user:p@ss+word')];
  expect(proxySecrets({ HTTPS_PROXY: 'http://user:p%40ss+word@proxy:3128' })).toEqual(expected);
  expect(proxySecrets({ https_proxy: 'user:p%40ss+word@proxy' })).toEqual(expected);
  expect(proxySecrets({ HTTPS_PROXY: 'http://proxy:3128', HTTP_PROXY: 'http://user@proxy' })).toEqual([]);
  expect(proxySecrets({ HTTPS_PROXY: 'http://user:50%@proxy' })).toContain('50%');
  expect(proxySecrets({ ALL_PROXY: 'http://user:a@b#c/d@proxy' })).toEqual([
    'a@b#c/d',
    encode('user:a@b#c/d'),
  ]);
});
