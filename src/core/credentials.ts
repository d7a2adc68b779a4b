/** How bearer tokens are got: from an OAuth client, or one that was given. Both parts are secrets. */
export type Credentials =
  | { kind: 'client'; clientId: string; clientSecret: string; scope: string; tokenUrl: string }
  | { kind: 'token'; accessToken: string };
