import { ExportError } from '../core/errors.ts';
import { createRedactor } from '../text/redaction.ts';
import { nearest } from '../text/suggest.ts';
import { type VariableName, variableOf } from './variables.ts';

/** What was noticed while a configuration was read, one text each, never with a secret in it. */
export interface Findings {
  readonly problems: string[];
  readonly warnings: string[];
}

const redact = createRedactor();
const maxShown = 100;

/** Names the variable, what was expected, what was found (only that something was, for a secret) and the remedy. */
export function problemWith(name: VariableName, found: string, remedy = remedyFor(name)): string {
  const { kind, secret } = variableOf(name);
  const shown = secret ? 'something else (not shown)' : quote(found);
  const meant = secret || !kind.choices ? undefined : nearest(found, kind.choices);
  const suggestion = meant === undefined ? '' : `Did you mean ${meant}? `;
  return `${name}: expected ${kind.expected}, found ${shown}. ${suggestion}${remedy}`;
}

/** `text` in quotes, cut when long, without passwords a URL may hold. */
export function quote(text: string, mostShown = maxShown): string {
  const shown = redact(text);
  return JSON.stringify(shown.length > mostShown ? `${shown.slice(0, mostShown)}…` : shown);
}

/** Throws all problems, and with them the warnings, as one `configuration` error. */
export function throwProblems({ problems, warnings }: Findings): void {
  if (problems.length === 0) return;
  const heading = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  const noticed = warnings.length === 0 ? [] : ['Also noticed:', ...warnings.map(asItem)];
  const lines = [`The configuration has ${heading}:`, ...problems.map(asItem), ...noticed];
  throw new ExportError(
    'configuration',
    [...lines, 'Set variables in the environment or in .env; .env.example explains each.'].join('\n'),
  );
}

function remedyFor(name: VariableName): string {
  const variable = variableOf(name);
  if (variable.default !== undefined) return `Fix it, or leave it out for the default, ${variable.default}.`;
  if (variable.example !== undefined) return `For example ${name}=${variable.example}`;
  return `Fix ${name}${variable.secret ? ` or ${name}_FILE` : ''}.`;
}

function asItem(text: string): string {
  return `  - ${text}`;
}
