/** Where bearer tokens come from: an OAuth client, or one configured token. Client secret and token are secrets. */
export type Credentials =
  | { kind: 'client'; clientId: string; clientSecret: string; scope: string; tokenUrl: string }
  | { kind: 'token'; accessToken: string };
