/** Three years of an organization with office hours: what its audit log looks like to dashboards. */
import type { AuditEvent } from '../src/core/event.ts';
import { type EventKind, makeEvent, variantsOf } from '../src/simulator/events.ts';
import { personOf } from '../src/simulator/kinds.ts';
import { below, createRandom, drawCount, pick, type Random } from '../src/simulator/random.ts';
import { formatCreatedOn } from '../src/simulator/stream.ts';

/** The days that the queries of docs/bi.md ask about lie within. */
const FIRST_DAY = Date.UTC(2024, 0, 1);
const DAYS = 1096;

const MILLISECONDS_PER_DAY = 86_400_000;
const SEED = 5;
/** Everybody the simulator knows. */
const PEOPLE = 500;
const LOGIN_SHARE = 0.82;
/** Of all logins, at any hour of the day: people who travel, or somebody else. */
const ODD_HOUR_SHARE = 0.002;
/** Of all changes, by somebody who is no administrator. */
const ODD_ACTOR_SHARE = 0.0005;

/** What administrators do, by weight. */
const CHANGES: [weight: number, kind: EventKind][] = [
  [45, 'userCreate'],
  [12, 'userDelete'],
  [50, 'groupUpdate'],
  [30, 'robotAccountCreate'],
  [20, 'externalClientUpdate'],
  [6, 'authenticationSettingUpdate'],
  [5, 'licenseRenew'],
  [2, 'policyCreate'],
  [2, 'policyEdit'],
  [60, 'policyDeploy'],
];
const CHANGES_WEIGHT = CHANGES.reduce((sum, [weight]) => sum + weight, 0);

interface Person {
  /** Day on which the person comes and goes; many never leave. */
  from: number;
  to: number;
  /** The hour, in UTC, at which work begins. */
  startHour: number;
}

/** About `count` events, oldest first, a day at a time: the same ones for the same count. */
export function* daysOfEvents(count: number): Generator<AuditEvent[]> {
  const people = drawPeople();
  const weights = Array.from({ length: DAYS }, (_, day) => weightOf(day));
  const perWeight = count / weights.reduce((sum, weight) => sum + weight, 0);
  const templates = new Map<string, AuditEvent>();
  for (let day = 0; day < DAYS; day++) {
    const random = createRandom(SEED, 1, day);
    // Most of those who are there are so on a given day; a weekend is quiet.
    const present = people.flatMap((person, number) =>
      person.from <= day && day < person.to && random() < (isWeekend(day) ? 0.08 : 0.7) ? [number] : [],
    );
    const drawn = Array.from({ length: drawCount(random, weights[day]! * perWeight) }, () =>
      draw(random, people, present),
    );
    drawn.sort((a, b) => a.ticksOfDay - b.ticksOfDay);
    yield drawn.map(({ ticksOfDay, kind, variant, actor }) => {
      const key = `${kind} ${variant} ${actor}`;
      const template = templates.get(key) ?? templateOf(kind, variant, actor);
      templates.set(key, template);
      return at(template, FIRST_DAY + day * MILLISECONDS_PER_DAY, ticksOfDay);
    });
  }
}

function drawPeople(): Person[] {
  const random = createRandom(SEED, 0);
  return Array.from({ length: PEOPLE }, () => ({
    from: random() < 0.5 ? 0 : below(random, DAYS),
    to: random() < 0.7 ? DAYS : below(random, DAYS),
    startHour: pick(random, [5, 6, 6, 7, 7, 7, 8, 13, 22]),
  }));
}

/** 2024-01-01 is a Monday. The organization grows to twice its size. */
function weightOf(day: number): number {
  return (1 + day / DAYS) * (isWeekend(day) ? 0.1 : 1);
}

function isWeekend(day: number): boolean {
  return day % 7 > 4;
}

function draw(random: Random, people: readonly Person[], present: readonly number[]) {
  const isLogin = present.length > 0 && random() < LOGIN_SHARE;
  const kind = isLogin ? 'login' : drawChange(random);
  const variant = isLogin ? pick(random, present) : below(random, variantsOf(kind));
  const start = isLogin ? people[variant]!.startHour : 8;
  // Mostly in the morning, fewer later in the working day.
  const hour = random() < ODD_HOUR_SHARE ? 24 * random() : start + 9 * random() ** 2;
  const actor = !isLogin && random() < ODD_ACTOR_SHARE ? below(random, PEOPLE) : undefined;
  return { kind, variant, actor, ticksOfDay: Math.floor((hour % 24) * 3600e7) };
}

function drawChange(random: Random): EventKind {
  let left = random() * CHANGES_WEIGHT;
  for (const [weight, kind] of CHANGES) {
    left -= weight;
    if (left < 0) return kind;
  }
  return CHANGES[0]![1];
}

function templateOf(kind: EventKind, variant: number, actor: number | undefined): AuditEvent {
  const { createdOn, ...fields } = makeEvent(kind, { variant });
  const who = actor === undefined ? {} : personOf(actor);
  return { ...fields, ...who, createdOnTicks: 0n, createdOnRaw: createdOn, extra: null, raw: null };
}

function at(template: AuditEvent, midnight: number, ticksOfDay: number): AuditEvent {
  const milliseconds = midnight + Math.floor(ticksOfDay / 10_000);
  const rest = ticksOfDay % 10_000;
  return {
    ...template,
    createdOnTicks: BigInt(milliseconds) * 10_000n + BigInt(rest),
    createdOnRaw: formatCreatedOn(milliseconds, rest),
  };
}
