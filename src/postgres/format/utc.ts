/** SQL for the text of a time in UTC with six digits, as the canonical text of a ledger entry has it. */
export const inUtc = (time: string) => `to_char(${time} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
