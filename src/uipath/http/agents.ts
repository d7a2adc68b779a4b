import http, { type ClientRequest } from 'node:http';
import https from 'node:https';
import { VERIFIED } from './certificates.ts';
import { findProxy, type HttpProxy } from './proxy.ts';
import { TunnelAgent } from './tunnel.ts';

/** Keep-alive agents for axios. */
export interface Agents {
  httpAgent: http.Agent;
  httpsAgent: http.Agent;
  /** The proxy that `https` requests go through. */
  proxy: HttpProxy | undefined;
  /** Whether this request used an open connection again and received no byte through it. */
  isUnansweredReuse(request: ClientRequest): boolean;
  /** Closes the connections that no request uses. */
  closeIdle(): void;
  close(): void;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Agents for requests to `url`. `timeoutMs` is the longest wait for a proxy. Throws `configuration` like `findProxy`. */
export function createAgents(url: string, environment: Environment, timeoutMs: number): Agents {
  const proxy = findProxy(url, environment);
  const httpAgent = new http.Agent({ keepAlive: true });
  const httpsAgent: https.Agent = proxy ? new TunnelAgent(proxy, timeoutMs) : new https.Agent(VERIFIED);
  const agents = [httpAgent, httpsAgent];
  const unanswered = new WeakSet<ClientRequest>();
  for (const agent of agents) recordReuse(agent, unanswered);
  return {
    httpAgent,
    httpsAgent,
    proxy,
    isUnansweredReuse: (request) => unanswered.has(request),
    closeIdle() {
      const idle = agents.flatMap(({ freeSockets }) => Object.values(freeSockets).flat());
      for (const socket of idle) socket?.destroy();
    },
    close() {
      for (const agent of agents) agent.destroy();
    },
  };
}

/** Adds each request that gets a used connection, and removes it when the first byte arrives. */
function recordReuse(agent: http.Agent, unanswered: WeakSet<ClientRequest>): void {
  const reuse = agent.reuseSocket.bind(agent);
  agent.reuseSocket = (connection, request) => {
    reuse(connection, request);
    unanswered.add(request);
    // Not earlier: a listener makes the connection deliver its data, and until then nothing parses it.
    request.once('socket', (socket) => {
      const onData = () => unanswered.delete(request);
      socket.once('data', onData);
      request.once('close', () => socket.off('data', onData));
    });
  };
}
