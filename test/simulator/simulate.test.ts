import { networkInterfaces } from 'node:os';
import { describe, expect, test } from '@jest/globals';
import { simulateCommand } from '../../src/commands/simulate.ts';

/** Runs the command on any free port until its first output, passes that to the callback, then aborts it and waits for its end. */
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
  const running = command.parseAsync(['node', 'simulate', '--port', '0', ...args]);
  try {
    await Promise.race([told, running]);
    await callback(lines);
  } finally {
    controller.abort();
    await running;
  }
}

interface List {
  totalCount: number;
  results: { createdOn: string }[];
}

async function readList(environment: Record<string, string>, top: number): Promise<List> {
  const base = `${environment.UIPATH_BASE_URL}/${environment.UIPATH_ORGANIZATION}`;
  const token = await fetch(`${base}/identity_/connect/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      client_id: environment.UIPATH_CLIENT_ID!,
      client_secret: environment.UIPATH_CLIENT_SECRET!,
    }),
  });
  const { access_token } = (await token.json()) as { access_token: string };
  const list = await fetch(`${base}/audit_/api/auditlogs?top=${top}&sortBy=createdOn&sortOrder=asc`, {
    headers: { Authorization: `Bearer ${access_token}`, 'Content-Type': 'application/json' },
  });
  return (await list.json()) as List;
}

async function totalCount(environment: Record<string, string>): Promise<number> {
  return (await readList(environment, 1)).totalCount;
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

  test('has events of the last 90 days, a tenth of them close to now, and none ahead', async () => {
    // Reads the clock: the history ends now.
    const now = Date.now();
    await simulate(['--json', '--events', '900'], async (lines) => {
      const { environment } = JSON.parse(lines[0]!);
      const { results } = await readList(environment, 1000);
      const times = results.map(({ createdOn }) => Date.parse(createdOn));
      const daysAgo = times.map((time) => (now - time) / 86_400_000);
      expect(times).toHaveLength(900);
      expect(times.toSorted((a, b) => a - b)).toEqual(times);
      expect(daysAgo[0]).toBeCloseTo(90, -1);
      expect(daysAgo.at(-1)!).toBeLessThan(1 / 24);
      expect(daysAgo.at(-1)!).toBeGreaterThan(0);
      expect(daysAgo[450]).toBeCloseTo(45, -1);
      expect(daysAgo.filter((days) => days < 0.1)).toHaveLength(90);
    });
  });

  test.each([
    ['127.0.0.1', '127.0.0.1', undefined],
    ['0.0.0.0', '127.0.0.1', undefined],
    ['::1', '[::1]', undefined],
    ['::', '[::1]', undefined],
    ['localhost', 'localhost', undefined],
  ])('listens on %s and is reached at %s', async (host, hostname, allowHttp) => {
    await simulate(['--json', '--events', '3', '--host', host], async (lines) => {
      const { environment, url } = JSON.parse(lines[0]!);
      expect([new URL(url).hostname, environment.UIPATH_ALLOW_HTTP]).toEqual([hostname, allowHttp]);
      expect(await totalCount(environment)).toBe(3);
    });
  });

  const external = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ family, internal }) => family === 'IPv4' && !internal);

  test.each(external.slice(0, 1))(
    'on the address $address the worker needs UIPATH_ALLOW_HTTP',
    ({ address }) =>
      simulate(['--host', address], async (lines) => {
        expect(lines).toContain('export UIPATH_ALLOW_HTTP=true');
      }),
  );

  test('names the port that is not free', () =>
    simulate(['--json'], async (lines) => {
      const port = new URL(JSON.parse(lines[0]!).url).port;
      const second = simulate(['--port', port], async () => {});
      await expect(second).rejects.toMatchObject({
        code: 'configuration',
        message: expect.stringMatching(`Cannot listen on 127.0.0.1:${port} .*Use another --host or --port`),
      });
    }));

  test.each([
    ['--events', 'many', 'Expected a whole number'],
    ['--fault', 'boom', '"boom" is not a fault'],
    ['--page-cap', '5,0', 'Expected a whole number of 1 or more, or a list'],
    ['--latency', 'slow', 'Expected milliseconds or a range'],
    ['--start-at', 'soon', 'a time like 2026-01-31T08:00:00Z'],
    ['--host', 'http://0.0.0.0', 'Expected a host name or address'],
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

  test.each([
    [['--replay', '/nowhere.json'], /Cannot read the recording \/nowhere\.json: ENOENT/],
    [['--replay', 'package.json'], /package\.json is not a recording: it has no "format"/],
    [['--replay', 'README.md'], /README\.md is not a recording: it is not JSON/],
  ])('%j is refused with the reason', async (args, message) => {
    await expect(simulate(args, async () => {})).rejects.toThrow(message);
  });
});
