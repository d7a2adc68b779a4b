import type { CommandContext } from '../app.ts';
import { loadEnvironment } from '../config/config.ts';
import { canRedraw } from '../terminal/screen.ts';

/**
 * Returns the context with LOG_LEVEL set to `level` unless it is already set, so that log lines about the start and stop of a
 * database do not mix with the result. Throws `configuration` for a file that cannot be read.
 */
export function withLogLevel(
  context: CommandContext,
  envFile: string | undefined,
  level: 'warn' | 'error',
): CommandContext {
  const environment = loadEnvironment(envFile === undefined ? {} : { envFile }, context.environment);
  return { ...context, environment: { ...environment, LOG_LEVEL: environment.LOG_LEVEL || level } };
}

/** The same, only if both outputs are terminals: these show the result and a progress bar instead of log lines. */
export function withLogLevelForTerminal(
  context: CommandContext,
  envFile: string | undefined,
): CommandContext {
  const isTerminal = process.stdout.isTTY === true && canRedraw(process.stderr);
  return isTerminal ? withLogLevel(context, envFile, 'warn') : context;
}
