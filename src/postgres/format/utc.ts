/** SQL that formats a time in UTC with six decimal places, the format in ledger digests. */
export const inUtc = (time: string) => `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
