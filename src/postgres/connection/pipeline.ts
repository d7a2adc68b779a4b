/**
 * Sends several statements without waiting for each result, so that a commit takes two round trips instead of ten. Each
 * round trip also waits for the event loop, which may be parsing a page.
 *
 * pg's own pipelining rejects COPY, and continues after a statement that failed. Here one Sync follows all statements, so the
 * server skips every statement after a failed one, including the commit.
 */
import pg from 'pg';
import { type Client, closeIfTimedOut } from './pool.ts';

export interface Statement extends pg.QueryConfig {
  /** `array`: each row is an array of its values. */
  rowMode?: 'array';
  /** The data of `copy … from stdin`. Must not change before the result has arrived. */
  bytes?: Buffer;
}

/** The rows of one statement. */
// biome-ignore lint/suspicious/noExplicitAny: as in pg, the author of the statement knows its rows.
export type ResultRows = any[];

/** Statements by name, sent in this order. `undefined` is skipped. */
export type Plan = Record<string, Statement | undefined>;

/** The rows of each statement of a plan, by its name; empty for a skipped one. */
export type PlanResults<P extends Plan> = { [Name in keyof P]: ResultRows };

/** Sends all statements. Throws the error of the first that failed; the server has skipped those after it. */
export async function pipeline<P extends Plan>(client: Client, plan: P): Promise<PlanResults<P>> {
  const names = Object.keys(plan).filter((name) => plan[name] !== undefined);
  const results = await sendPipelined(
    client,
    names.map((name) => plan[name]!),
  );
  const rowsOf = (name: string) => results[names.indexOf(name)] ?? [];
  return Object.fromEntries(Object.keys(plan).map((name) => [name, rowsOf(name)])) as PlanResults<P>;
}

async function sendPipelined(client: Client, statements: readonly Statement[]): Promise<ResultRows[]> {
  try {
    return await new Promise((resolve, reject) => {
      client.query(
        new PipelinedQuery(statements, (error, results) => (error ? reject(error) : resolve(results))),
      );
    });
  } catch (error) {
    closeIfTimedOut(client, error as Error);
    throw error;
  }
}

/**
 * Runs one transaction in two round trips: `begin` with `first`, then the plan that `work` returns with `commit`. Stores all of
 * it or nothing. An error of `work` rolls it back.
 */
export async function transact<First extends Plan, Last extends Plan, T>(
  client: Client,
  first: First,
  work: (results: PlanResults<First>) => Promise<{ plan: Last; result: (results: PlanResults<Last>) => T }>,
): Promise<T> {
  try {
    const read = await pipeline(client, { begin: { text: 'begin' }, ...first });
    const { plan, result } = await work(read);
    return result(await pipeline(client, { ...plan, commit: { text: 'commit' } }));
  } catch (error) {
    // A broken connection cannot roll back; the server does it.
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

/** The methods of a query that pg's client calls; its types omit them. */
interface PgQuery extends pg.Query {
  submit(connection: pg.Connection): Error | null;
  readonly name?: string;
  readonly text: string;
  handleRowDescription(message: unknown): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: pg.Connection): void;
  handleReadyForQuery(connection: pg.Connection): void;
}

/** One query for pg's client. Each statement is a pg query, which writes its messages and reads its results. */
class PipelinedQuery implements pg.Submittable {
  private readonly results: ResultRows[] = [];
  private readonly queries: PgQuery[];
  private failure: Error | undefined;

  constructor(
    readonly statements: readonly Statement[],
    /** pg replaces it with a callback that also clears the timer of the query timeout. */
    public callback: (error: Error | null, results: ResultRows[]) => void,
  ) {
    this.queries = statements.map(({ bytes: _bytes, ...statement }) => {
      const config = { ...statement, queryMode: 'extended' };
      return new pg.Query(config, (error, result) => {
        this.failure ??= error;
        this.results.push(result?.rows ?? []);
      }) as PgQuery;
    });
  }

  /** The client records under this name that a statement was prepared. */
  get name(): string | undefined {
    return this.current?.name;
  }

  get text(): string | undefined {
    return this.current?.text;
  }

  submit(connection: pg.Connection): Error | undefined {
    const unsynced = withoutSync(connection);
    connection.stream.cork();
    for (const [i, query] of this.queries.entries()) {
      // pg omits a statement that it cannot serialize. The statements after it must not run without it.
      const error = query.submit(unsynced) ?? this.failure;
      if (error) {
        connection.stream.destroy();
        return error;
      }
      const { bytes } = this.statements[i]!;
      if (bytes) sendCopyData(connection, bytes);
    }
    connection.sync();
    connection.stream.uncork();
    return undefined;
  }

  handleRowDescription(message: unknown): void {
    this.current!.handleRowDescription(message);
  }

  handleDataRow(message: unknown): void {
    this.current!.handleDataRow(message);
  }

  /** Nothing to do: the bytes were sent with the statement. */
  handleCopyInResponse(): void {}

  handleCommandComplete(message: unknown, connection: pg.Connection): void {
    const query = this.current!;
    query.handleCommandComplete(message, connection);
    query.handleReadyForQuery(connection);
  }

  handleError(error: Error): void {
    this.callback(error, []);
  }

  handleReadyForQuery(): void {
    this.callback(this.failure ?? null, this.results);
  }

  private get current(): PgQuery | undefined {
    return this.queries[this.results.length];
  }
}

/** The connection without the Sync of each query, and without a record of statements that an earlier error kept from being prepared. */
function withoutSync(connection: pg.Connection): pg.Connection {
  return Object.create(connection, { sync: { value: () => {} }, submittedNamedStatements: { value: {} } });
}

/** Sends the messages CopyData and CopyDone. A server that has rejected the COPY ignores them. */
function sendCopyData({ stream }: pg.Connection, bytes: Buffer): void {
  const head = Buffer.from('d\0\0\0\0', 'latin1');
  head.writeUInt32BE(bytes.length + 4, 1);
  stream.write(head);
  stream.write(bytes);
  stream.write(COPY_DONE);
}

const COPY_DONE = Buffer.from('c\0\0\0\x04', 'latin1');
