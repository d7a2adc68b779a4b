/** TLS connections through an HTTP proxy. */
import http, { type IncomingMessage } from 'node:http';
import https, { type RequestOptions } from 'node:https';
import { isIPv6 } from 'node:net';
import type { Duplex } from 'node:stream';
import { VERIFIED } from './certificates.ts';
import type { HttpProxy } from './proxy.ts';
import { connectionError, ProxyError, refusalError, timeoutError } from './proxy-error.ts';

/** Opens each connection through `proxy`. Its requests fail with `ProxyError` if the proxy opens none within `timeoutMs`. */
export class TunnelAgent extends https.Agent {
  readonly #closing = new AbortController();

  constructor(
    private readonly proxy: HttpProxy,
    private readonly timeoutMs: number,
  ) {
    super(VERIFIED);
  }

  /** Returns nothing: the connection is passed to `callback` when the proxy has opened it. */
  override createConnection(
    options: RequestOptions,
    callback: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    this.#connect(options).then(
      (socket) => callback(null, super.createConnection({ ...options, socket } as RequestOptions)!),
      (error) => callback(error, undefined as never),
    );
    return undefined;
  }

  override destroy(): void {
    this.#closing.abort();
    super.destroy();
  }

  #connect({ host, port }: RequestOptions): Promise<Duplex> {
    const { proxy, timeoutMs } = this;
    const target = `${isIPv6(host!) ? `[${host}]` : host}:${port}`;
    const request = (proxy.protocol === 'https:' ? https : http).request({
      host: proxy.hostname,
      port: proxy.port,
      method: 'CONNECT',
      path: target,
      agent: false,
      rejectUnauthorized: true,
      signal: this.#closing.signal,
      headers: {
        Host: target,
        'User-Agent': 'uipath-audit-export',
        Connection: 'keep-alive',
        'Proxy-Connection': 'keep-alive',
        ...(proxy.authorization === undefined ? {} : { 'Proxy-Authorization': proxy.authorization }),
      },
    });
    const timer = setTimeout(() => request.destroy(timeoutError(proxy, timeoutMs)), timeoutMs);
    return new Promise<Duplex>((resolve, reject) => {
      // Node.js emits it for every status.
      request.once('connect', (response: IncomingMessage, socket: Duplex) => {
        if (response.statusCode === 200) return resolve(socket);
        socket.on('error', () => {}).destroy();
        reject(refusalError(proxy, target, response));
      });
      request.once('error', (error) =>
        reject(error instanceof ProxyError ? error : connectionError(proxy, error)),
      );
      request.end();
    }).finally(() => clearTimeout(timer));
  }
}
