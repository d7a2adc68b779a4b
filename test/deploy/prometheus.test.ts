import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { hasPromtool, promtool } from '../support/promtool.ts';
import { ROOT } from '../support/root.ts';
import { exportedNames, metricsIn } from './metric-names.ts';

const FOLDER = join(ROOT, 'deploy', 'prometheus');
const TESTS = ['alerts.test.yaml', 'alerts-days.test.yaml'];

interface Rule {
  alert?: string;
  expr: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

const read = (name: string) => readFileSync(join(FOLDER, name), 'utf8');
const rules = (parse(read('alerts.yaml')) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);
const alerts = rules.filter(({ alert }) => alert !== undefined);

test('the alerts ask for metrics that the program exports, and only those', async () => {
  const names = await exportedNames();
  const asked = rules.flatMap(({ expr, annotations }) =>
    metricsIn(`${expr} ${annotations?.runbook_url ?? ''}`),
  );
  expect(new Set(asked).size).toBeGreaterThan(8);
  expect(asked.filter((name) => !names.has(name))).toEqual([]);
});

describe('each alert', () => {
  const headings = readFileSync(join(ROOT, 'docs', 'operations.md'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('### '))
    .map((line) => line.slice(4).trim());

  test.each(alerts.map((rule) => [rule.alert!, rule] as const))(
    '%s says what it is, how bad, and where to read on',
    (name, rule) => {
      expect(rule.annotations).toEqual({
        summary: expect.stringMatching(/\.$/),
        description: expect.stringMatching(/\.$/),
        runbook_url: expect.stringMatching(
          new RegExp(
            `^{{ with query .* }}{{ . \\| first .* }}{{ else }}docs/operations.md{{ end }}#${name.toLowerCase()}$`,
          ),
        ),
      });
      expect(['critical', 'warning']).toContain(rule.labels?.severity);
      expect(headings).toContain(name);
    },
  );

  test('is played by the unit tests, firing and not', () => {
    interface Played {
      alertname: string;
      exp_alerts: unknown[];
    }
    const played = TESTS.flatMap(
      (file) => (parse(read(file)) as { tests: { alert_rule_test: Played[] }[] }).tests,
    ).flatMap((one) => one.alert_rule_test);
    const firing = played.filter(({ exp_alerts }) => exp_alerts.length > 0);
    const quiet = played.filter(({ exp_alerts }) => exp_alerts.length === 0);
    for (const { alert } of alerts) {
      expect(firing.map(({ alertname }) => alertname)).toContain(alert);
      expect(quiet.map(({ alertname }) => alertname)).toContain(alert);
    }
  });
});

test('the scrape configuration names the rules beside it and the job they ask for', () => {
  for (const name of ['prometheus.yaml', 'scrape-with-token.yaml']) {
    const { rule_files: files, scrape_configs: jobs } = parse(read(name));
    for (const file of files) expect(existsSync(join(FOLDER, file))).toBe(true);
    expect(jobs.map((job: { job_name: string }) => job.job_name)).toEqual(['uipath-audit-export']);
  }
  expect(read('alerts.yaml')).toContain('job="uipath-audit-export"');
});

(hasPromtool ? describe : describe.skip)('promtool', () => {
  test('accepts the rules and the configuration', () => {
    for (const args of [
      ['rules', 'alerts.yaml'],
      ['config', 'prometheus.yaml'],
      // Its files are those of an installation.
      ['config', '--syntax-only', 'scrape-with-token.yaml'],
    ]) {
      const { status, said } = promtool(['check', ...args.slice(0, -1), join(FOLDER, args.at(-1)!)]);
      expect([status, said]).toEqual([0, expect.stringContaining('SUCCESS')]);
    }
  });

  test('sees every alert fire and stay quiet as its unit tests say', () => {
    const { status, said } = promtool(['test', 'rules', ...TESTS.map((file) => join(FOLDER, file))]);
    expect([said, status]).toEqual([expect.not.stringContaining('FAILED'), 0]);
  });
});
