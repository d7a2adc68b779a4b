import { BlockList, isIP } from 'node:net';
import { domainToASCII } from 'node:url';

const SEPARATORS = /[\s,;|]+/;
const DEFAULT_PORTS: Record<string, string> = { 'https:': '443', 'http:': '80' };

/**
 * Whether `NO_PROXY` excludes the host of `url`. Its entries are separated by commas or spaces:
 *
 * - `*`: every host.
 * - `example.org`, `.example.org`, `*.example.org`: this host and all below it. A dot at the end has no meaning.
 * - `10.1.2.3`, `::1`, `[::1]`: this address, in any notation. `10.0.0.0/8`, `fd00::/8`: a network. Only an address in the URL
 *   matches, as in curl: no name is resolved.
 * - `127.*`, `web-*.example.org`: `*` is any text.
 *
 * All but networks and bare IPv6 addresses may have a port. Other entries match nothing.
 */
export function isExcluded(url: string, noProxy: string): boolean {
  const { protocol, hostname, port } = new URL(url);
  const host = normalizeHost(hostname);
  const hostPort = port || DEFAULT_PORTS[protocol];
  return noProxy
    .toLowerCase()
    .split(SEPARATORS)
    .map((entry) => entry.replace(/^\w+:\/\/(.*?)\/?$/, '$1'))
    .some((entry) => {
      if (entry === '*') return true;
      if (entry.includes('/')) return isInNetwork(host, entry);
      const { name, port: entryPort } = splitPort(entry);
      return (entryPort === undefined || entryPort === hostPort) && matchesName(host, name);
    });
}

function matchesName(host: string, entry: string): boolean {
  const suffix = entry.replace(/^\*?\./, '');
  if (suffix.includes('*')) return patternOf(suffix).test(host);
  // As a URL, a single number is an address: `10` is 0.0.0.10. As an entry it is a mistake.
  const name = /^\d*$/.test(suffix) ? '' : normalizeHost(suffix);
  if (name === '') return false;
  if (isIP(name)) return isInNetwork(host, `${name}/${isIP(name) === 4 ? 32 : 128}`);
  return host === name || (!isIP(host) && host.endsWith(`.${name}`));
}

/** `host:443` and `[::1]:443` have a port, `::1` has none. */
function splitPort(entry: string): { name: string; port: string | undefined } {
  const [, name = entry, port] = /^(\[.*\]|[^:]*):(\d+)$/.exec(entry) ?? [];
  return { name, port };
}

/** `network` is an address and the length of its prefix. An IPv4 address within IPv6 is the IPv4 address. */
function isInNetwork(host: string, network: string): boolean {
  const [, base = '', prefix] = /^([^/]*)\/(\d{1,3})$/.exec(network) ?? [];
  const address = normalizeHost(base);
  const [family, length] = [isIP(address), Number(prefix)];
  if (!isIP(host) || !family || length > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(address, length, family === 4 ? 'ipv4' : 'ipv6');
  return list.check(host, isIP(host) === 4 ? 'ipv4' : 'ipv6');
}

/** Without brackets and dot at the end; a name with other letters as it is in a URL. */
function normalizeHost(host: string): string {
  const bare = host.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
  return isIP(bare) ? bare : domainToASCII(bare);
}

function patternOf(glob: string): RegExp {
  const escaped = glob.replace(/\.$/, '').replace(/[\\^$.+?()[\]{}|]/g, '\\$&');
  return new RegExp(`^${escaped.replace(/\*+/g, '.*')}$`);
}
