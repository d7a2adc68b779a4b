import { request } from 'node:http';
import { createSimulator, type Simulator, type SimulatorOptions } from '../../src/simulator/simulator.ts';

interface Reply {
  status: number;
  headers: Headers;
  text: string;
}

interface ListBody {
  totalCount: number;
  results: Record<string, string | null>[] | null;
}

/** Runs the callback with a simulator and closes it afterwards, also after an exception. */
export async function withSimulator(
  options: SimulatorOptions,
  callback: (simulator: Simulator) => Promise<void>,
): Promise<void> {
  const simulator = await createSimulator(options);
  try {
    await callback(simulator);
  } finally {
    await simulator.close();
  }
}

export async function postToken(
  simulator: Simulator,
  form: Record<string, string> = {},
  path = '/acme/identity_/connect/token',
): Promise<Reply> {
  const body = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: simulator.clientId,
    client_secret: simulator.clientSecret,
    scope: 'PM.Audit.Read',
    ...form,
  });
  return toReply(await fetch(simulator.url + path, { method: 'POST', body }));
}

export async function fetchToken(simulator: Simulator, form: Record<string, string> = {}): Promise<string> {
  return JSON.parse((await postToken(simulator, form)).text).access_token;
}

export const LIST_PATH = '/acme/audit_/api/auditlogs';
const ASCENDING = 'sortBy=createdOn&sortOrder=asc';

/** Sends a documented list request, with a new token unless one is passed. */
export async function getList(
  simulator: Simulator,
  query: string,
  options: { path?: string; headers?: Record<string, string>; token?: string } = {},
): Promise<Reply> {
  const token = options.token ?? (await fetchToken(simulator));
  const headers = {
    Authorization: `Bearer ${token}`,
    'Content-Type': 'application/json',
    ...options.headers,
  };
  return toReply(
    await fetch(`${simulator.url}${options.path ?? LIST_PATH}?${query}`, { headers, redirect: 'manual' }),
  );
}

/** Returns the body of an ascending list request, which must succeed. */
export async function readPage(simulator: Simulator, query = 'top=1000', token?: string): Promise<ListBody> {
  const reply = await getList(simulator, `${ASCENDING}&${query}`, token ? { token } : {});
  if (reply.status !== 200) throw new Error(`HTTP ${reply.status}: ${reply.text}`);
  return JSON.parse(reply.text);
}

export async function readTimes(
  simulator: Simulator,
  query = 'top=1000',
): Promise<(string | null | undefined)[]> {
  return (await readPage(simulator, query)).results!.map((row) => row.createdOn);
}

/** Sends one request and returns the bytes received until the connection ended, and how it ended. Does not parse the content. */
export async function readRaw(
  simulator: Simulator,
  query = `${ASCENDING}&top=100`,
): Promise<{ bytes: Buffer; headers: Record<string, unknown>; error: string | undefined }> {
  const token = await fetchToken(simulator);
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const end = (received: Record<string, unknown>, error?: Error): void =>
      resolve({
        bytes: Buffer.concat(chunks),
        headers: received,
        error: (error as NodeJS.ErrnoException)?.code,
      });
    request(`${simulator.url}${LIST_PATH}?${query}`, { headers, agent: false }, (response) => {
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', (error) => end(response.headers, error));
      response.once('end', () => end(response.headers));
    })
      .once('error', (error) => end({}, error))
      .end();
  });
}

async function toReply(response: Response): Promise<Reply> {
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** A row with only a time and a name. */
export function rowAt(createdOn: string, action = createdOn): string {
  return JSON.stringify({ createdOn, action });
}
