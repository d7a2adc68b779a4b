import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { changesOf, type ListChanges } from './changes.ts';
import { FaultPlan } from './faults.ts';
import type { RowInput } from './fixed.ts';
import { createHandler } from './handler.ts';
import { History } from './history.ts';
import { LagPlan } from './memory.ts';
import { GOOD_BEHAVIOUR, type Misbehaviour } from './misbehaviour.ts';
import { createRandom } from './random.ts';
import type { Replay } from './replay.ts';
import { type RequestCounts, RequestLog, type SeenRequest } from './requests.ts';
import { TokenBook } from './tokens.ts';

export interface SimulatorOptions extends Partial<Misbehaviour> {
  /** Address to listen on; default 127.0.0.1. */
  host?: string;
  /** Default: any free port. */
  port?: number;
  /** Seed of all generated data and random decisions; default 1. */
  seed?: number;
  /** Typical rows in the list at the start; default 0. */
  events?: number;
  /** Rows supplied by the caller, added at the start. */
  rows?: readonly RowInput[];
  /** Time of the first typical row; default 2023-01-01. */
  startAt?: Date;
  /** Mean time between two typical rows; default 30 s. */
  spacingMs?: number;
  /** Format of `createdOn` in typical rows; default `full`, the documented one. */
  createdOnForm?: 'full' | 'mixed';
  /** Approximate size of a policy's details; default 6,000. */
  policyBytes?: number;
  /** Approximate size of the details of every typical row, if they would be smaller; default: the usual sizes. */
  detailsBytes?: number;
  /** Largest lateness of generated late rows; default 10 min. */
  lateWithinMs?: number;
  /** Default `acme`. */
  organization?: string;
  partitionGlobalId?: string;
  clientId?: string;
  clientSecret?: string;
  /** The scopes that the client may request. */
  scopes?: readonly string[];
  /** A token that is always valid. */
  accessToken?: string;
  /** Size of the cache of rendered rows; default 128 MiB. A larger list is rendered again each time it is read. */
  cacheBytes?: number;
  /** Renders the rows at the start, as far as they fit into the cache, instead of when they are first read. */
  prerender?: boolean;
  /** Responses to serve instead of simulated ones; its rows are the list at the start. */
  replay?: Replay;
  /** Records when each row was in the list: `spans`. For short lists. */
  recordSpans?: boolean;
}

type Served = Omit<Simulator, keyof ListChanges>;

const DEFAULTS = {
  host: '127.0.0.1',
  port: 0,
  seed: 1,
  events: 0,
  rows: [] as readonly RowInput[],
  startAt: new Date('2023-01-01T00:00:00Z'),
  spacingMs: 30_000,
  createdOnForm: 'full' as const,
  policyBytes: 6_000,
  detailsBytes: 0,
  lateWithinMs: 600_000,
  organization: 'acme',
  partitionGlobalId: 'b7006b1c-11c3-4a80-802e-fee0ebf9c360',
  clientId: 'simulated-client',
  clientSecret: 'simulated-secret',
  scopes: ['PM.Audit', 'PM.Audit.Read', 'OR.Users.Read'] as readonly string[],
  cacheBytes: 128 * 1_048_576,
  prerender: false,
  recordSpans: false,
};

/** A simulated UiPath organization. */
export interface Simulator extends ListChanges {
  /** `http://HOST:PORT`, without a `/` at the end: the value for `UIPATH_BASE_URL` on this machine. */
  readonly url: string;
  readonly organization: string;
  readonly partitionGlobalId: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /**
   * Changes the server's behaviour; omitted properties stay, and `undefined` restores the good behaviour. New `faults` and a new
   * `lag` start counting at zero.
   */
  set(behaviour: Partial<Misbehaviour>): void;
  /** Revokes every issued token. */
  revokeTokens(): void;
  /** The newest requests (at most 20,000), oldest first. */
  readonly requests: readonly SeenRequest[];
  readonly counts: Readonly<RequestCounts>;
  clearRequests(): void;
  /** Stops listening and closes every connection. */
  close(): Promise<void>;
}

/** Starts the server of a simulated organization. */
export async function createSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const { replay } = options;
  const settings = { ...DEFAULTS, ...withoutUndefined(options), ...(replay && settingsOf(replay)) };
  const history = new History(settings);
  history.append(settings.rows);
  if (settings.prerender) history.list.prerender('en');
  const log = new RequestLog();
  const tokens = new TokenBook(settings);
  const random = createRandom(settings.seed, 11);
  let behaviour = changeBehaviour(GOOD_BEHAVIOUR, options);
  let faults = new FaultPlan(behaviour.faults, random);
  const lagRandom = createRandom(settings.seed, 13);
  let lags = new LagPlan(behaviour.lag, lagRandom);
  const handle = createHandler({
    ...{ history, log, tokens, random, settings, replay },
    behaviour: () => behaviour,
    faults: () => faults,
    lags: () => lags,
  });
  const server = createServer((request, response) => void handle(request, response));
  const port = await listen(server, settings);
  const served: Served = {
    url: `http://${reachableHost(settings.host)}:${port}`,
    organization: settings.organization,
    partitionGlobalId: settings.partitionGlobalId,
    clientId: settings.clientId,
    clientSecret: settings.clientSecret,
    set: (changes) => {
      behaviour = changeBehaviour(behaviour, changes);
      if ('faults' in changes) faults = new FaultPlan(behaviour.faults, random);
      if ('lag' in changes) lags = new LagPlan(behaviour.lag, lagRandom);
    },
    revokeTokens: () => tokens.revokeAll(),
    get requests() {
      return log.entries;
    },
    get counts() {
      return log.counts;
    },
    clearRequests: () => log.clear(),
    close: () => close(server),
  };
  return Object.defineProperties(
    served,
    Object.getOwnPropertyDescriptors(changesOf(history, settings.lateWithinMs)),
  ) as Simulator;
}

function settingsOf({ organization, accessToken, rows }: Replay): Partial<SimulatorOptions> & { events: 0 } {
  return { organization, accessToken, rows, events: 0 };
}

/** The address of this machine where the server listens on all; an IPv6 address in brackets. */
function reachableHost(host: string): string {
  const reachable = new Map([
    ['0.0.0.0', '127.0.0.1'],
    ['::', '::1'],
  ]).get(host);
  return (reachable ?? host).replace(/^.*:.*$/, '[$&]');
}

async function listen(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  server.keepAliveTimeout = 65_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return (server.address() as AddressInfo).port;
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}

function withoutUndefined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

function changeBehaviour(before: Misbehaviour, changes: Partial<Misbehaviour>): Misbehaviour {
  const known = Object.entries(GOOD_BEHAVIOUR).flatMap(([name, good]) =>
    name in changes ? [[name, changes[name as keyof Misbehaviour] ?? good]] : [],
  );
  return { ...before, ...Object.fromEntries(known) };
}
