/** Stands between the program and the test database, and goes away as a server or a network does. */
import net from 'node:net';
import { Transform } from 'node:stream';

export interface DatabaseProxy {
  /** The database's URL, through the proxy. */
  url: string;
  /** How many connections were opened so far. */
  readonly connections: number;
  /** Breaks every connection and refuses new ones, as a server that was stopped. */
  stop(): Promise<void>;
  /** Swallows whatever is said on connections old and new, as a server that stands still. */
  hang(): void;
  /** Lets new connections through again. Those that hung stay silent, as when a firewall has forgotten them. */
  start(): Promise<void>;
  close(): Promise<void>;
}

/** `delayMs`: how long the network takes, each way. */
export async function createDatabaseProxy(
  databaseUrl: string,
  { delayMs = 0 }: { delayMs?: number } = {},
): Promise<DatabaseProxy> {
  const { hostname, port: databasePort } = new URL(databaseUrl);
  const sockets = new Set<net.Socket>();
  let isHanging = false;
  let connections = 0;
  const server = net.createServer((front) => {
    connections++;
    track(front);
    if (isHanging) return;
    const back = track(net.connect(Number(databasePort), hostname));
    front.on('close', () => back.destroy());
    back.on('close', () => front.destroy());
    if (delayMs === 0) front.pipe(back).pipe(front);
    else front.pipe(delay(delayMs)).pipe(back).pipe(delay(delayMs)).pipe(front);
  });
  const track = (socket: net.Socket) => {
    sockets.add(socket);
    return socket.on('close', () => sockets.delete(socket)).on('error', () => {});
  };
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const stop = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };

  await listen(0);
  const { port } = server.address() as net.AddressInfo;
  const url = new URL(databaseUrl);
  url.hostname = '127.0.0.1';
  url.port = String(port);
  return {
    url: url.href,
    get connections() {
      return connections;
    },
    stop,
    hang() {
      isHanging = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
    async start() {
      isHanging = false;
      if (!server.listening) await listen(port);
    },
    close: stop,
  };
}

/** Gives each piece on after a time; the next ones wait with it. */
function delay(milliseconds: number): Transform {
  return new Transform({
    transform(bytes, _encoding, done) {
      setTimeout(done, milliseconds, null, bytes);
    },
  });
}
