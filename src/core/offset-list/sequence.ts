/** The order in which requests are sent and responses arrive: a count may not mix responses of different moments. */
import type { FetchPage, Page, PageRequest } from './page.ts';

/** A page with the moments of its request and its response, in one order over all requests of a source. */
export type Sequenced<P extends Page> = P & { readonly sent: number; readonly received: number };

export type Sequence = (request: PageRequest, options: Parameters<FetchPage>[1]) => Promise<Sequenced<Page>>;

export function createSequence(fetchPage: FetchPage): Sequence {
  let moment = 0;
  return async (request, options) => {
    const sent = ++moment;
    const page = await fetchPage(request, options);
    return { ...page, sent, received: ++moment };
  };
}
