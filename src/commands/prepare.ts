import type { OrganizationsApp } from '../app.ts';
import { migrate } from '../postgres/schema/migrate.ts';

/** Applies pending migrations and meanwhile requests the token that the first page needs. */
export async function prepareExport(
  { pool, organizations }: Pick<OrganizationsApp, 'pool' | 'organizations'>,
  signal: AbortSignal,
): Promise<void> {
  // The run requests the same token, and reports what is wrong with it.
  organizations[0]!.source.fetchToken({ signal }).catch(() => {});
  await migrate(pool);
}
