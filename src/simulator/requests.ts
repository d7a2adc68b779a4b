import type { IncomingHttpHeaders } from 'node:http';
import type { FaultName } from './faults.ts';

/** One received request. */
export interface SeenRequest {
  kind: 'list' | 'token' | 'portal';
  at: Date;
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** Parameters of a list request; `top` is `undefined` if it was not sent. */
  skip?: number;
  top?: number | undefined;
  /** Status of the response; 0 if the connection was reset or nothing was sent. */
  status: number;
  /** Rows in the response. */
  rows: number;
  /** The fault that was applied. */
  fault?: FaultName | number;
  /** The response showed an earlier state of the list. */
  isLagging?: boolean;
}

/** Totals since the start, including requests that are no longer in the log. */
export interface RequestCounts {
  list: number;
  token: number;
  portal: number;
  /** Requests of any kind with a fault. */
  faults: number;
  rows: number;
}

const MAX_REQUESTS = 20_000;

/** The newest requests, and the totals. */
export class RequestLog {
  entries: SeenRequest[] = [];
  counts: RequestCounts = { list: 0, token: 0, portal: 0, faults: 0, rows: 0 };

  add(request: SeenRequest): void {
    if (this.entries.length >= MAX_REQUESTS) this.entries.splice(0, MAX_REQUESTS / 2);
    this.entries.push(request);
    this.counts[request.kind]++;
  }

  clear(): void {
    this.entries = [];
    this.counts = { list: 0, token: 0, portal: 0, faults: 0, rows: 0 };
  }
}
