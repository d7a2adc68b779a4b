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
  /** The data of `copy … from stdin`, in parts. Must not change before the result has arrived. */
  data?: readonly Buffer[];
}

/** The rows of one statement. */
// biome-ignore lint/suspicious/noExplicitAny: as in pg, the author of the statement knows its rows.
export type ResultRows = any[];

/** Statements by name, sent in this order. `undefined` is skipped. */
export type Plan = Record<string, Statement | undefined>;

/** The rows of each statement of a plan, by its name; empty for a skipped one. */
export type PlanResults<P extends Plan> = { [Name in keyof P]: ResultRows };

/**
 * Sends all statements. `more` is called once they are sent, and returns statements to send after them: what takes a while to compute is
 * computed while the server works. Throws the error of the first statement that failed; the server has skipped those after it.
 */
export async function pipeline<P extends Plan>(
  client: Client,
  plan: P,
  more: () => Plan = () => ({}),
): Promise<PlanResults<P>> {
  const sent: string[] = [];
  const statementsOf = (part: Plan): Statement[] => {
    const names = Object.keys(part).filter((name) => part[name] !== undefined);
    sent.push(...names);
    return names.map((name) => part[name]!);
  };
  const results = await sendPipelined(client, statementsOf(plan), () => statementsOf(more()));
  const rowsOf = (name: string) => results[sent.indexOf(name)] ?? [];
  return Object.fromEntries(Object.keys(plan).map((name) => [name, rowsOf(name)])) as PlanResults<P>;
}

async function sendPipelined(
  client: Client,
  statements: readonly Statement[],
  more: () => readonly Statement[],
): Promise<ResultRows[]> {
  try {
    return await new Promise((resolve, reject) => {
      client.query(
        new PipelinedQuery(statements, more, (error, results) => (error ? reject(error) : resolve(results))),
      );
    });
  } catch (error) {
    closeIfTimedOut(client, error as Error);
    throw error;
  }
}

/**
 * Runs one transaction in two round trips: `begin` with `first`, then the plan that `work` returns, with `more` of it, and `commit`.
 * Stores all of it or nothing. An error of `work` rolls it back.
 */
export async function transact<First extends Plan, Last extends Plan, T>(
  client: Client,
  first: First,
  work: (results: PlanResults<First>) => Promise<{
    plan: Last;
    /** As in `pipeline`. */
    more?: () => Plan;
    result: (results: PlanResults<Last>) => T;
  }>,
): Promise<T> {
  try {
    const read = await pipeline(client, { begin: { text: 'begin' }, ...first });
    const { plan, more, result } = await work(read);
    return result(await pipeline(client, plan, () => ({ ...more?.(), commit: { text: 'commit' } })));
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
  private readonly queries: PgQuery[] = [];
  private failure: Error | undefined;

  constructor(
    private readonly statements: readonly Statement[],
    private readonly more: () => readonly Statement[],
    /** pg replaces it with a callback that also clears the timer of the query timeout. */
    public callback: (error: Error | null, results: ResultRows[]) => void,
  ) {}

  /** The client records under this name that a statement was prepared. */
  get name(): string | undefined {
    return this.current?.name;
  }

  get text(): string | undefined {
    return this.current?.text;
  }

  submit(connection: pg.Connection): Error | undefined {
    const unsynced = withoutSync(connection);
    try {
      this.send(unsynced, this.statements);
      this.send(unsynced, this.more());
    } catch (error) {
      // The statements that are sent must not be committed without the others.
      connection.stream.destroy();
      return error as Error;
    }
    connection.sync();
    return undefined;
  }

  private send(connection: pg.Connection, statements: readonly Statement[]): void {
    connection.stream.cork();
    for (const { data, ...statement } of statements) {
      const config = { ...statement, queryMode: 'extended' };
      const query = new pg.Query(config, (error, result) => {
        this.failure ??= error;
        this.results.push(result?.rows ?? []);
      }) as PgQuery;
      this.queries.push(query);
      // pg omits a statement that it cannot serialize.
      const error = query.submit(connection) ?? this.failure;
      if (error) throw error;
      if (data) sendCopyData(connection, data);
    }
    connection.stream.uncork();
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
function sendCopyData({ stream }: pg.Connection, data: readonly Buffer[]): void {
  for (const bytes of data) {
    const head = Buffer.from('d\0\0\0\0', 'latin1');
    head.writeUInt32BE(bytes.length + 4, 1);
    stream.write(head);
    stream.write(bytes);
  }
  stream.write(COPY_DONE);
}

const COPY_DONE = Buffer.from('c\0\0\0\x04', 'latin1');
