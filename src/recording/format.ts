import { ExportError } from '../core/errors.ts';

/** The value of `format`. */
export const RECORDING_FORMAT = 'uipath-audit-export recording 1';

/** The file of `check --record`: what a source responded, with every value replaced that could identify someone. */
export interface Recording {
  format: typeof RECORDING_FORMAT;
  /** Version and commit of the program. */
  program: string;
  recordedAt: string;
  note: string;
  /** The replacement of the organization's name. */
  organization: string;
  /** Paths of the list and, unless a fixed token was used, of the token. */
  auditPath: string;
  tokenPath: string | null;
  checks: { name: string; outcome: string }[];
  exchanges: RecordedExchange[];
}

export interface RecordedExchange {
  request: {
    kind: 'token' | 'list';
    method: string;
    url: string;
    headers: Record<string, string>;
    /** Fields of the form, without client id and secret. */
    form?: Record<string, string>;
  };
  response: {
    status: number;
    headers: Record<string, string | string[]>;
    /** Size as received, after decompression. */
    bytes: number;
    /** `json`: `body` is the parsed value. `html` and `text`: `body` only names the text. */
    kind: 'json' | 'html' | 'text' | 'empty';
    /** Whether a byte order mark precedes the body. */
    bom?: true;
    body?: unknown;
  };
}

/** Parses the file of a recording. `name` is for messages. Throws `configuration`. */
export function parseRecording(text: string, name: string): Recording {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (cause) {
    throw invalid(name, `is not JSON (${(cause as Error).message.slice(0, 100)})`);
  }
  const recording = value as Partial<Recording> | null;
  if (recording?.format !== RECORDING_FORMAT) throw invalid(name, `has no "format": "${RECORDING_FORMAT}"`);
  const isComplete =
    [recording.organization, recording.auditPath].every((text) => typeof text === 'string') &&
    Array.isArray(recording.exchanges) &&
    recording.exchanges.every(isExchange);
  if (!isComplete) throw invalid(name, 'lacks a field, or one has another type');
  return recording as Recording;
}

function isExchange(exchange: Partial<RecordedExchange> | null): boolean {
  const { request, response } = exchange ?? {};
  return (
    ['token', 'list'].includes(request?.kind ?? '') &&
    URL.canParse(request?.url ?? '') &&
    Number.isInteger(response?.status) &&
    response!.status >= 200 &&
    response!.status < 600 &&
    typeof response!.headers === 'object'
  );
}

function invalid(name: string, what: string): ExportError {
  return new ExportError(
    'configuration',
    `${name} is not a recording: it ${what}. "check --record FILE" writes one.`,
  );
}
