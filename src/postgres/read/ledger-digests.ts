/** $1 organization, $2 log, $3 the last entry. Formats and digests of entries, in order: the leaves of the tree of the log. */
export const READ_DIGESTS = `
  select format, encode(digest, 'hex') as digest from audit.ledger
  where organization = $1 and log = $2 and batch between 1 and $3 order by batch`;
