import type { IncomingHttpHeaders } from 'node:http';
import type { FaultName } from './faults.ts';

/** One request as the server saw it. */
export interface SeenRequest {
  kind: 'list' | 'token' | 'portal';
  at: Date;
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  /** Of a list request; `top` is `undefined` when it was not given. */
  skip?: number;
  top?: number | undefined;
  /** Status of the response, as far as one was begun; 0 when the connection was reset or nothing was said. */
  status: number;
  /** Rows in the response. */
  rows: number;
  /** The fault that was played. */
  fault?: FaultName | number;
}

/** Totals since the start, whatever was cut from the log. */
export interface RequestCounts {
  list: number;
  token: number;
  portal: number;
  /** Requests of any kind that got a fault. */
  faults: number;
  rows: number;
}

const KEPT_REQUESTS = 20_000;

/** The newest requests, and how many there were. */
export class RequestLog {
  entries: SeenRequest[] = [];
  counts: RequestCounts = { list: 0, token: 0, portal: 0, faults: 0, rows: 0 };

  add(request: SeenRequest): void {
    if (this.entries.length >= KEPT_REQUESTS) this.entries.splice(0, KEPT_REQUESTS / 2);
    this.entries.push(request);
    this.counts[request.kind]++;
  }

  clear(): void {
    this.entries = [];
    this.counts = { list: 0, token: 0, portal: 0, faults: 0, rows: 0 };
  }
}
