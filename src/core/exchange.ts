/** One HTTP request and its complete response. Holds secrets and events: only `recording/` may write it anywhere. */
export interface Exchange {
  method: string;
  url: string;
  requestHeaders: Readonly<Record<string, string>>;
  /** The body of a form. */
  form: string | undefined;
  status: number;
  /** Names in lower case. Raw, not validated. */
  headers: Readonly<Record<string, unknown>>;
  /** Decompressed. */
  body: Buffer;
}
