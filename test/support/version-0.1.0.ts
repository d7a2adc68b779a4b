/** A worker of version 0.1.0, by the statements that it sent: test/fixtures/statements-0.1.0.json. */
import { readFileSync } from 'node:fs';
import pg from 'pg';

type Name =
  | 'insertRun'
  | 'insertWatermark'
  | 'holdFence'
  | 'upsertEvents'
  | 'upsertRejected'
  | 'extendCoverage'
  | 'moveWatermark'
  | 'updateRun'
  | 'endRun';

const STATEMENTS: Record<Name, string> = JSON.parse(
  readFileSync(new URL('../fixtures/statements-0.1.0.json', import.meta.url), 'utf8'),
);

export interface OldEvent {
  createdOn: Date;
  userName: string | null;
  message?: string;
}

export interface OldWorker {
  client: pg.Client;
  begin(): Promise<string>;
  /** One transaction, as one page is committed. Throws `fenced` where the run has been ended by somebody else. */
  commit(runId: string, events: readonly OldEvent[], options?: { rejected?: string }): Promise<void>;
  end(runId: string): Promise<void>;
}

export async function openOldWorker(url: string, organization: string): Promise<OldWorker> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const send = async (name: Name, values: unknown[]) => (await client.query(STATEMENTS[name], values)).rows;
  const inTransaction = async <T>(work: () => Promise<T>): Promise<T> => {
    await client.query('begin');
    try {
      const result = await work();
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback');
      throw error;
    }
  };
  const hold = async (runId: string) => {
    if ((await send('holdFence', [organization, runId])).length === 0) throw new Error('fenced');
  };
  return {
    client,
    begin: () =>
      inTransaction(async () => {
        const [run] = await send('insertRun', [organization, 'run', 'host process 1']);
        await send('insertWatermark', [organization, run.run_id]);
        return run.run_id;
      }),
    commit: (runId, events, { rejected } = {}) =>
      inTransaction(async () => {
        await hold(runId);
        await send('upsertEvents', [organization, runId, null, ...columnsOf(organization, events)]);
        if (rejected !== undefined)
          await send('upsertRejected', [
            organization,
            runId,
            [Buffer.from(rejected)],
            [rejected],
            [null],
            ['reason'],
          ]);
        const [from, to] = [events[0]!.createdOn, events.at(-1)!.createdOn];
        const [fromTicks, toTicks] = [ticksOf(from), ticksOf(to) + 1n].map(String);
        await send('extendCoverage', [
          ...[
            organization,
            runId,
            fromTicks,
            toTicks,
            from,
            to,
            new Date('2026-06-01'),
            true,
            false,
            '0 seconds',
          ],
        ]);
        await send('moveWatermark', [
          ...[organization, String(ticksOf(to)), to.toISOString(), to, new Date('2026-06-01'), 1, 1],
          ...[toTicks, true, runId],
        ]);
        await send('updateRun', [runId, 1, 1, 0, events.length, events.length, 0, 0, 0, 0, toTicks, 1, 1]);
      }),
    end: (runId) =>
      inTransaction(async () => {
        await hold(runId);
        await send('endRun', [runId, 'succeeded', null, []]);
      }),
  };
}

/** In the order of the upsert. An event's id follows from its time. */
function columnsOf(organization: string, events: readonly OldEvent[]): unknown[][] {
  const column = <T>(pick: (event: OldEvent) => T) => events.map(pick);
  return [
    column(({ createdOn }) => createdOn),
    column(({ createdOn }) => idOf(organization, createdOn)),
    column(({ createdOn }) => String(ticksOf(createdOn))),
    column(({ createdOn }) => createdOn.toISOString()),
    ...['User', 'Login', 'Cis'].map((text) => column(() => text)),
    column(({ userName }) => userName),
    column(() => ''),
    column(({ message }) => message ?? 'logged in'),
    column(() => null),
    column(() => '{}'),
    column(() => true),
    column(() => null),
    column(() => false),
    column(() => null),
    column(() => 0),
  ];
}

function ticksOf(at: Date): bigint {
  return BigInt(at.getTime()) * 10_000n;
}

function idOf(organization: string, at: Date): string {
  const hex = Buffer.from(`${organization} ${at.getTime()}`.padStart(16)).toString('hex').slice(-32);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
