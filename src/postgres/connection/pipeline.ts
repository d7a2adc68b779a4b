/**
 * Statements that are sent to the server together and processed in order, so that a commit waits twice for the
 * database and not ten times, each time until the program has done with the page that it is parsing.
 *
 * pg's own pipelining refuses COPY, and goes on behind a statement that failed. Here one Sync follows them all, so that the
 * server carries out nothing behind a statement that fails, not even a commit.
 */
import pg from 'pg';
import { type Client, closeIfTimedOut } from './pool.ts';

export interface Statement extends pg.QueryConfig {
  /** `array`: each row is an array of its values. */
  rowMode?: 'array';
  /** For `copy … from stdin`; they must not change until the results are there. */
  bytes?: Buffer;
}

/** The rows of one statement. */
// biome-ignore lint/suspicious/noExplicitAny: as in pg, the author of the statement knows its rows.
export type ResultRows = any[];

/** Statements by name, sent in the order they are written down in. `undefined` is left out. */
export type Plan = Record<string, Statement | undefined>;

/** The rows of each statement of a plan, under its name; none for one that was left out. */
export type PlanResults<P extends Plan> = { [Name in keyof P]: ResultRows };

/** Sends all statements. Throws the error of the first that failed; none after it was carried out. */
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
 * One transaction in two round trips: `first` after its begin, and the plan that `work` makes of the results before its commit. All
 * of it is stored, or nothing. What `work` throws rolls it back.
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
    // A broken connection cannot roll back, and need not: the server does.
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

/** What pg's client calls of the query under way; its types leave it out. */
interface SubmittedQuery extends pg.Query {
  submit(connection: pg.Connection): Error | null;
  readonly name?: string;
  readonly text: string;
  handleRowDescription(message: unknown): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: pg.Connection): void;
  handleReadyForQuery(connection: pg.Connection): void;
}

/** To pg's client it is one query. Each statement is a query of pg's own, which writes itself and reads its own result. */
class PipelinedQuery implements pg.Submittable {
  private readonly results: ResultRows[] = [];
  private readonly queries: SubmittedQuery[];
  private failure: Error | undefined;

  constructor(
    readonly statements: readonly Statement[],
    /** pg puts another in its place, which clears its query timeout. */
    public callback: (error: Error | null, results: ResultRows[]) => void,
  ) {
    this.queries = statements.map(({ bytes: _bytes, ...statement }) => {
      const config = { ...statement, queryMode: 'extended' };
      return new pg.Query(config, (error, result) => {
        this.failure ??= error;
        this.results.push(result?.rows ?? []);
      }) as SubmittedQuery;
    });
  }

  /** The client notes under its name that a statement was prepared. */
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
      // What pg cannot write down of a statement it leaves out, and those behind it must not be carried out without it.
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

  /** The bytes are on their way. */
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

  private get current(): SubmittedQuery | undefined {
    return this.queries[this.results.length];
  }
}

/** The connection, but that a query's Sync is not sent, and what was not prepared because of an error before it is forgotten. */
function withoutSync(connection: pg.Connection): pg.Connection {
  return Object.create(connection, { sync: { value: () => {} }, submittedNamedStatements: { value: {} } });
}

/** The messages CopyData and CopyDone. A server that has refused the COPY passes over them. */
function sendCopyData({ stream }: pg.Connection, bytes: Buffer): void {
  const head = Buffer.from('d\0\0\0\0', 'latin1');
  head.writeUInt32BE(bytes.length + 4, 1);
  stream.write(head);
  stream.write(bytes);
  stream.write(COPY_DONE);
}

const COPY_DONE = Buffer.from('c\0\0\0\x04', 'latin1');
