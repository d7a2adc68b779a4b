import { describe, expect, test } from '@jest/globals';
import { simulateCommand } from '../../src/commands/simulate.ts';

/** Runs the command until its first output, passes that to the callback, then aborts it and waits for its end. */
async function simulate(args: string[], callback: (lines: string[]) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const lines: string[] = [];
  let isTold: () => void = () => {};
  const told = new Promise<void>((resolve) => {
    isTold = resolve;
  });
  const command = simulateCommand({
    signal: controller.signal,
    out: (line) => {
      lines.push(line);
      isTold();
    },
  }).exitOverride();
  command.configureOutput({ writeErr: () => {}, writeOut: (text) => lines.push(text) });
  const running = command.parseAsync(['node', 'simulate', ...args]);
  try {
    await Promise.race([told, running]);
    await callback(lines);
  } finally {
    controller.abort();
    await running;
  }
}

async function totalCount({
  UIPATH_BASE_URL: base,
  ...environment
}: Record<string, string>): Promise<number> {
  const organization = environment.UIPATH_ORGANIZATION;
  const token = await fetch(`${base}/${organization}/identity_/connect/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: environment.UIPATH_CLIENT_ID!,
      client_secret: environment.UIPATH_CLIENT_SECRET!,
    }),
  });
  const { access_token } = (await token.json()) as { access_token: string };
  const list = await fetch(`${base}/${organization}/audit_/api/auditlogs?top=1`, {
    headers: { Authorization: `Bearer ${access_token}`, 'Content-Type': 'application/json' },
  });
  return ((await list.json()) as { totalCount: number }).totalCount;
}

describe('simulate', () => {
  test('prints the variables for the organization, and stops on a signal', async () => {
    let url = '';
    await simulate(['--events', '42', '--organization', "o'neill"], async (lines) => {
      const exports = lines.filter((line) => line.startsWith('export '));
      expect(exports.map((line) => line.slice(7).split('=')[0])).toEqual([
        'UIPATH_BASE_URL',
        'UIPATH_ORGANIZATION',
        'UIPATH_CLIENT_ID',
        'UIPATH_CLIENT_SECRET',
      ]);
      expect(exports[1]).toBe("export UIPATH_ORGANIZATION='o'\\''neill'");
      url = exports[0]!.split('=')[1]!;
      expect(lines[0]).toContain(`with 42 events listens on ${url}`);
      expect((await fetch(url)).status).toBe(200);
    });
    await expect(fetch(url)).rejects.toThrow('fetch failed');
  });

  test('prints one JSON object with --json, and applies the requested faults and rates', () =>
    simulate(
      [
        '--json',
        '--events',
        '10',
        '--hostile',
        '--append-rate',
        '5',
        '--fault',
        '503:after=2',
        '--fault',
        '404:every=9',
      ],
      async (lines) => {
        expect(lines).toHaveLength(1);
        const { environment, events, url } = JSON.parse(lines[0]!);
        expect(environment.UIPATH_BASE_URL).toBe(url);
        expect(events).toBeGreaterThan(150);
        expect([await totalCount(environment), await totalCount(environment)]).toEqual([events, events + 5]);
        expect(await totalCount(environment)).toBeUndefined();
      },
    ));

  test('appends events while it runs', () =>
    simulate(['--json', '--events', '3', '--appends-per-minute', '60000'], async (lines) => {
      const { environment } = JSON.parse(lines[0]!);
      while ((await totalCount(environment)) < 100) await new Promise((resolve) => setTimeout(resolve, 10));
    }));

  test('names the port that is not free', () =>
    simulate(['--json'], async (lines) => {
      const port = new URL(JSON.parse(lines[0]!).url).port;
      const second = simulate(['--port', port], async () => {});
      await expect(second).rejects.toMatchObject({
        code: 'configuration',
        message: expect.stringMatching(`Cannot listen on 127.0.0.1:${port} .*Use another --port`),
      });
    }));

  test.each([
    ['--events', 'many', 'Expected a whole number'],
    ['--fault', 'boom', '"boom" is not a fault'],
    ['--page-cap', '5,0', 'Expected a whole number of 1 or more, or a list'],
    ['--latency', 'slow', 'Expected milliseconds or a range'],
    ['--start-at', 'yesterday', 'a time like 2026-01-31T08:00:00Z'],
  ])('rejects %s %s', async (flag, value, message) => {
    await expect(simulate([flag, value], async () => {})).rejects.toMatchObject({
      code: 'commander.invalidArgument',
      message: expect.stringContaining(message),
    });
  });

  test('shows two examples in its help', async () => {
    const lines: string[] = [];
    const command = simulateCommand({ signal: new AbortController().signal, out: () => {} });
    command.configureOutput({ writeOut: (text) => lines.push(text) }).outputHelp();
    expect(lines.join('').match(/^ {2}node dist\/main\.js simulate/gm)).toHaveLength(2);
  });
});
