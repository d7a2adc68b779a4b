/** `bundle.js` puts the version of package.json and the commit here. */
declare const BUILD: { version: string; commit: string } | undefined;

/** Unknown where the program was not bundled, as in the tests that import it. */
export const build = typeof BUILD === 'undefined' ? { version: 'unknown', commit: 'unknown' } : BUILD;

/** Such as `0.2.0 (1a2b3c4)`. */
export const versionText = `${build.version} (${build.commit})`;
