import type { OrganizationsApp } from '../app.ts';
import { migrate } from '../postgres/schema/migrate.ts';

/** Applies pending migrations, while the token that the first request for a page needs is on its way already. */
export async function prepareExport(
  { pool, organizations }: Pick<OrganizationsApp, 'pool' | 'organizations'>,
  signal: AbortSignal,
): Promise<void> {
  // The run requests the same token, and reports what is wrong with it.
  organizations[0]!.source.fetchToken({ signal }).catch(() => {});
  await migrate(pool);
}
