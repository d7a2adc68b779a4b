import { ExportError } from '../core/errors.ts';
import { createRedactor } from '../text/redaction.ts';
import { nearest } from '../text/suggest.ts';
import { type VariableName, variableOf } from './variables.ts';

/** Problems and warnings found in a configuration, one text each, without secrets. */
export interface Findings {
  readonly problems: string[];
  readonly warnings: string[];
}

const redact = createRedactor();
const MAX_SHOWN = 100;

/** Describes a wrong value: the variable, what was expected, what was found (hidden for a secret) and the fix. */
export function problemWith(name: VariableName, found: string): string {
  const { kind, secret } = variableOf(name);
  const reason = secret ? undefined : kind.problemOf?.(found);
  const shown = secret ? 'something else (not shown)' : quote(found) + (reason ? `, ${reason}` : '');
  const remedy = kind.explain?.(found) ?? remedyFor(name);
  const meant = secret || !kind.choices ? undefined : nearest(found, kind.choices);
  const suggestion = meant === undefined ? '' : `Did you mean ${meant}? `;
  return `${name}: expected ${kind.expected}, found ${shown}. ${suggestion}${remedy}`;
}

/** Returns `text` in quotes, truncated, with passwords in URLs redacted. */
export function quote(text: string, maxLength = MAX_SHOWN): string {
  const shown = redact(text);
  return JSON.stringify(shown.length > maxLength ? `${shown.slice(0, maxLength)}…` : shown);
}

/** Throws one `configuration` error that lists all problems and warnings, if there is a problem. */
export function throwProblems({ problems, warnings }: Findings): void {
  if (problems.length === 0) return;
  const heading = problems.length === 1 ? 'a problem' : `${problems.length} problems`;
  const warned = warnings.length === 0 ? [] : ['Warnings:', ...warnings.map(asItem)];
  const lines = [`The configuration has ${heading}:`, ...problems.map(asItem), ...warned];
  throw new ExportError(
    'configuration',
    [...lines, 'Set variables in the environment or in .env; .env.example explains each.'].join('\n'),
  );
}

function remedyFor(name: VariableName): string {
  const variable = variableOf(name);
  if (variable.default !== undefined) return `Correct it, or unset it for the default, ${variable.default}.`;
  if (variable.example !== undefined) return `For example ${name}=${variable.example}`;
  return `Correct ${name}${variable.secret ? ` or ${name}_FILE` : ''}.`;
}

function asItem(text: string): string {
  return `  - ${text}`;
}
