/** pg's client and pool, with what they lack of libpq: several hosts, sslmode `prefer` and `allow`, and errors that say what to do. */
import type { Socket } from 'node:net';
import pg from 'pg';
import {
  explainFailure,
  isHostFailure,
  isRejection,
  isTlsFailure,
  summarizeFailures,
} from './connect-errors.ts';
import type { Environment } from './parameters.ts';
import { type Attempt, resolveTarget, type Target } from './target.ts';

type ConnectCallback = (
  error: Error | undefined,
  client: pg.PoolClient | undefined,
  done: (error?: Error | boolean) => void,
) => void;

/** The attempt whose failure an error is. The pool wraps the error of a timeout. */
const attempts = new WeakMap<Error, Attempt>();

function attemptOf(error: Error): Attempt | undefined {
  return attempts.get(error) ?? (error.cause instanceof Error ? attempts.get(error.cause) : undefined);
}

/** A pool for what one URL and the environment lead to. */
export class TargetPool extends pg.Pool {
  readonly #resolve: () => Target;
  #target: Target;
  /** How the next connection is opened. */
  #next: Attempt;
  /** How the last connection was opened. */
  #last: Attempt;
  #fallbackReason: Error | undefined;

  /** Throws `configuration`, for example for a certificate file that cannot be read. */
  constructor(
    /** Secret: contains the password. */
    readonly url: string,
    environment: Environment,
    options: pg.PoolConfig,
  ) {
    const resolve = () => resolveTarget(url, environment);
    const target = resolve();
    const config = {
      ...options,
      connectionTimeoutMillis: target.connectTimeoutMs ?? options.connectionTimeoutMillis,
      Client: attemptClientOf(() => ({ target: this.#target, attempt: this.#next })),
    };
    super(config as unknown as pg.PoolConfig);
    this.#resolve = resolve;
    this.#target = target;
    this.#next = target.attempts[0]!;
    this.#last = this.#next;
  }

  get target(): Target {
    return this.#target;
  }

  /** Why an earlier attempt of the host in use was given up, such as TLS in mode `prefer`. */
  get fallbackReason(): Error | undefined {
    return this.#fallbackReason;
  }

  /** Creates a client outside the pool, for the host in use. Its `connect` rejects with an explained error. */
  createClient(options: pg.ClientConfig): pg.Client {
    const Client = attemptClientOf(() => ({ target: this.#target, attempt: this.#last }), { explains: true });
    return new Client(options);
  }

  override connect(): Promise<pg.PoolClient>;
  override connect(callback: ConnectCallback): void;
  override connect(callback?: ConnectCallback): Promise<pg.PoolClient> | undefined {
    const connecting = this.#connect();
    if (!callback) return connecting;
    connecting.then(
      (client) => callback(undefined, client, client.release),
      (error: Error) => callback(error, undefined, () => {}),
    );
    return undefined;
  }

  async #connect(): Promise<pg.PoolClient> {
    const failures = new Map<Attempt, Error>();
    for (;;) {
      try {
        const client = await super.connect();
        this.#settleOn(client, failures);
        return client;
      } catch (thrown) {
        const error = thrown as Error;
        const failed = attemptOf(error);
        // A pool that is full or ended, or an error after the connection was opened.
        if (failed === undefined) throw error;
        failures.set(failed, error);
        const next = nextAttempt(this.#target.attempts, failed, error);
        if (next === undefined || failures.has(next)) throw this.#giveUp(failures);
        this.#next = next;
      }
    }
  }

  /** Stays with the host. TLS is attempted anew for each connection, so that one failure does not disable it. */
  #settleOn(client: pg.PoolClient, failures: ReadonlyMap<Attempt, Error>): void {
    if (!(client instanceof AttemptClient)) return;
    this.#last = client.attempt;
    if (failures.size > 0) this.#fallbackReason = [...failures.values()].at(-1);
    this.#next =
      this.#target.attempts.find(({ hostIndex }) => hostIndex === client.attempt.hostIndex) ?? this.#next;
  }

  #giveUp(failures: ReadonlyMap<Attempt, Error>): Error {
    const error = summarizeFailures(failures, this.#target);
    this.#next = this.#target.attempts[0]!;
    // The files may have been renewed since.
    if ([...failures.values()].some(isTlsFailure)) this.#readFilesAgain();
    return error;
  }

  #readFilesAgain(): void {
    try {
      this.#target = this.#resolve();
      this.#next = this.#target.attempts[0]!;
    } catch {
      // While a file is being replaced, the former content stays in use.
    }
  }
}

/** The URL that `pool` was created for. Secret: contains the password. */
export function urlOf(pool: pg.Pool): string | undefined {
  return pool instanceof TargetPool ? pool.url : pool.options.connectionString;
}

/** Opens no connection yet. `pool` may also be a pool of pg. */
export function createClient(pool: pg.Pool, options: pg.ClientConfig = {}): pg.Client {
  if (pool instanceof TargetPool) return pool.createClient(options);
  const { connectionString, host, port, user, password, database } = pool.options;
  return new pg.Client({
    connectionString,
    host,
    port,
    user,
    password,
    database,
    ...options,
  } as pg.ClientConfig);
}

/** Records `error`, thrown right after `client` was connected, as a failure of its attempt. Returns it. */
export function blameAttempt<E>(error: E, client: pg.ClientBase): E {
  if (client instanceof AttemptClient && error instanceof Error) attempts.set(error, client.attempt);
  return error;
}

/** Whether the connection is bound to the server's certificate, as channel_binding=require demands. */
export function hasChannelBinding(client: pg.ClientBase): boolean {
  return client instanceof AttemptClient && client.hasChannelBinding;
}

interface Chosen {
  target: Target;
  attempt: Attempt;
}

export class AttemptClient extends pg.Client {
  readonly attempt: Attempt;
  readonly #target: Target;
  readonly #explains: boolean;
  hasChannelBinding = false;

  constructor({ target, attempt }: Chosen, explains: boolean, options: pg.ClientConfig) {
    const config = { ...options, ...target.options, ...attempt.options };
    super(
      attempt.mayBePlain
        ? ({ ...config, connection: new NegotiatingConnection(config) } as pg.ClientConfig)
        : config,
    );
    this.attempt = attempt;
    this.#target = target;
    this.#explains = explains;
    this.#connection.on('authenticationSASL', ({ mechanisms }: { mechanisms: string[] }) => {
      this.hasChannelBinding = mechanisms.includes('SCRAM-SHA-256-PLUS');
    });
  }

  /** The socket; with TLS a `TLSSocket`. */
  get stream(): Socket {
    return this.#connection.stream as Socket;
  }

  /** pg's types omit it. */
  get #connection(): pg.Connection {
    return (this as unknown as { connection: pg.Connection }).connection;
  }

  override connect(): Promise<pg.Client>;
  override connect(callback: (error: Error, client: pg.Client) => void): void;
  override connect(callback?: (error: Error, client: pg.Client) => void): Promise<pg.Client> | undefined {
    if (!callback)
      return new Promise((resolve, reject) =>
        this.connect((error) => (error ? reject(error) : resolve(this))),
      );
    super.connect((error: Error) => {
      if (!error) return callback(error, this);
      attempts.set(error, this.attempt);
      callback(this.#explains ? explainFailure(error, this.attempt, this.#target) : error, this);
    });
    return undefined;
  }
}

function attemptClientOf(
  choose: () => Chosen,
  { explains = false } = {},
): new (
  options: pg.ClientConfig,
) => pg.Client {
  return class extends AttemptClient {
    constructor(options: pg.ClientConfig) {
      super(choose(), explains, options);
    }
  };
}

/** The next attempt of the same host, the first one of the next host, or `undefined` if no other attempt can help. */
function nextAttempt(all: readonly Attempt[], failed: Attempt, error: Error): Attempt | undefined {
  const { hostIndex } = failed;
  if (isRejection(error)) {
    const ofHost = all.filter((attempt) => attempt.hostIndex === hostIndex);
    return ofHost[ofHost.indexOf(failed) + 1];
  }
  if (!isHostFailure(error)) return undefined;
  const hosts = Math.max(...all.map((attempt) => attempt.hostIndex)) + 1;
  return all.find((attempt) => attempt.hostIndex === (hostIndex + 1) % hosts);
}

/** The members of pg's connection that its types omit. */
interface PgConnection extends pg.Connection {
  connect(port: number | string, host?: string): void;
  attachListeners(stream: unknown): void;
}

/**
 * Continues without TLS on the same connection if the server has none, as libpq does for `prefer`. pg closes the connection. pg's listener for
 * the server's response, one byte, is replaced by one that handles an N itself.
 */
class NegotiatingConnection extends pg.Connection {
  constructor(config: pg.ClientConfig) {
    super(config);
    const own = this as unknown as PgConnection;
    const connect = own.connect.bind(own);
    own.connect = (port, host) => {
      connect(port, host);
      const { stream } = this;
      const listeners = stream.listeners('data') as ((bytes: Buffer) => void)[];
      stream.removeAllListeners('data');
      stream.once('data', (bytes: Buffer) => {
        if (bytes.toString('latin1') !== 'N') {
          for (const listener of listeners) listener(bytes);
          return;
        }
        own.attachListeners(stream);
        // The client then sends its startup message.
        this.emit('sslconnect');
      });
    };
  }
}
