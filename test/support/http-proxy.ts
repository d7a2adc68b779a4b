/** HTTP proxies for tests: one that opens tunnels, and those that fail. */
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo, type Socket } from 'node:net';
import { cert, key } from './certificate.ts';

export interface TestProxy {
  port: number;
  /** `HOST:PORT` of each CONNECT. */
  tunnels: string[];
  /** `Proxy-Authorization` of each CONNECT; `''` if absent. */
  logins: string[];
  /** Everything that clients have sent through the tunnels. */
  passed(): string;
  close(): Promise<void>;
}

/** A proxy that connects each tunnel to `port` of this machine, whatever its target. */
export async function openTunnelProxy(
  port: number,
  { isTls = false, login }: { isTls?: boolean; login?: string } = {},
): Promise<TestProxy> {
  const tunnels: string[] = [];
  const logins: string[] = [];
  const chunks: Buffer[] = [];
  const server = isTls ? https.createServer({ key, cert }) : http.createServer();
  server.on('connect', (request: http.IncomingMessage, socket: Socket) => {
    tunnels.push(request.url!);
    const authorization = request.headers['proxy-authorization'] ?? '';
    logins.push(authorization);
    socket.on('error', () => {});
    if (login !== undefined && authorization !== `Basic ${Buffer.from(login).toString('base64')}`) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n');
      return;
    }
    const onward = net.connect(port, '127.0.0.1', () =>
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n'),
    );
    onward.on('error', () => socket.destroy());
    onward.on('close', () => socket.destroy());
    socket.on('close', () => onward.destroy());
    socket.on('data', (bytes: Buffer) => chunks.push(bytes));
    socket.pipe(onward).pipe(socket);
  });
  const opened = await listen(server);
  return { ...opened, tunnels, logins, passed: () => Buffer.concat(chunks).toString('latin1') };
}

/** A server that treats each connection as `work` says. */
export async function openRawServer(work: (socket: Socket) => void) {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    work(socket);
  });
  return await listen(server);
}

/** Listens on a free port, and closes with all its connections. */
export async function listen(server: net.Server): Promise<{ port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
