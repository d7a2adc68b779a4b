/** The statement that stores a page, less what appends to the ledger: what `bench/ledger.js` compares with. */
export const withoutLedger = `
  with incoming as (
    select * from unnest(
      $4::timestamptz[], $5::uuid[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[],
      $12::text[], $13::text[], $14::text[], $15::text[], $16::boolean[], $17::text[], $18::boolean[], $19::text[],
      $20::integer[]
    ) as t (
      created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name, email, message,
      details_version, details_raw, is_parsable, extra, is_extra_exact, raw, ordinal
    )
  ), written as (
    insert into audit.events as stored (
      organization, run_id, batch, created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name,
      email, message, details_version, details_raw, details, extra, raw, ordinal
    )
    select
      $1, $2, 0, created_on, event_id, created_on_ticks, created_on_raw, category, action, source, user_name,
      email, message, details_version, details_raw,
      case when is_parsable and pg_input_is_valid(details_raw, 'jsonb') then details_raw::jsonb end,
      case when is_extra_exact or pg_input_is_valid(extra, 'jsonb') then extra::jsonb end,
      raw, ordinal
    from incoming
    on conflict (organization, created_on, event_id) do update set
      user_name = excluded.user_name, email = excluded.email, message = excluded.message, extra = excluded.extra,
      raw = excluded.raw, created_on_raw = excluded.created_on_raw, updated_at = now()
    where (stored.user_name, stored.email, stored.message, stored.extra, stored.raw, stored.created_on_raw)
      is distinct from
      (excluded.user_name, excluded.email, excluded.message, excluded.extra, excluded.raw, excluded.created_on_raw)
    returning xmax = 0 as is_inserted, created_on_ticks
  )
  select
    count(*) filter (where is_inserted) as inserted,
    count(*) filter (where not is_inserted) as updated,
    array_agg(created_on_ticks) filter (where is_inserted and created_on_ticks < $3) as late_ticks, null as batch, null as digest
  from written`;
