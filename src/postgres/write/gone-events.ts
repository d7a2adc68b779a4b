/** Marks stored events that the source does not show any more, and those that it shows again, within a transaction of a run. */
import type { Judgement, StoredRow } from '../../core/judge.ts';
import type { LogKey } from '../../core/log-key.ts';
import type { Comparison } from '../../core/store.ts';
import { formatMicroseconds } from '../../core/ticks.ts';
import type { Client } from '../connection/pool.ts';
import type { KeyedRecord } from '../format/list-records.ts';
import { CONFIRM_GONE, DISMISS_SUSPICIONS, SHOW_AGAIN, SUSPECT } from './span-statements.ts';

/** More than this part of the stored events, and more than these, are not suspected in one run: the source has changed. */
const SUSPICIOUS_SHARE = 0.01;
const SUSPICIOUS_EVENTS = 100;
/** The same for logs with few events, once a run has counted them: at first, few are stored because they are being read. */
const SUSPICIOUS_SHARE_OF_FEW = 0.1;
const SUSPICIOUS_OF_FEW = 4;

/** What a stored event is known by. */
type GoneEvent = Pick<StoredRow, 'ticks' | 'eventId'>;

/** What became of the events that a response does not show. `marked`: the rows of audit.gone_events that were written. */
export interface Suspected
  extends Pick<Comparison, 'suspected' | 'confirmed' | 'isSourceChanged' | 'goneEvents'> {
  marked: KeyedRecord[];
}

/** The suspicions of one run. */
export class GoneEvents {
  /** Most stored events were missing in a response of this run: nothing is suspected any more. */
  private isSourceChanged = false;
  private suspectedEvents = 0;
  private hasChanged: boolean;

  constructor(
    private readonly client: Client,
    private readonly key: LogKey & { runId: string },
    private readonly options: {
      /** No earlier run has counted the log. */
      isFirstCount: boolean;
      /** An earlier run found that the source has changed, and nothing has explained it since. */
      hasChanged: boolean;
    },
  ) {
    this.hasChanged = options.hasChanged;
  }

  /** The source is another one now. */
  forgetChange(): void {
    this.hasChanged = false;
  }

  /** Suspects events that are not shown, unless they are so many that the source must have changed. */
  async suspect(judgement: Judgement, isTruncated: boolean): Promise<Suspected> {
    const { suspected, confirmed } = judgement;
    const dismissed: KeyedRecord[] = [];
    this.suspectedEvents += suspected.length;
    const isTooMany =
      this.suspectedEvents > SUSPICIOUS_OF_FEW &&
      (this.hasChanged || this.suspectedEvents > (await this.readLimit()));
    if (!this.isSourceChanged && (isTooMany || isTruncated || judgement.isMostlyUnshown)) {
      this.isSourceChanged = true;
      const { organization, log, runId } = this.key;
      const { rows } = await this.client.query<KeyedRecord>(DISMISS_SUSPICIONS, [organization, log, runId]);
      dismissed.push(...rows);
    }
    if (this.isSourceChanged)
      return { suspected: 0, confirmed: 0, isSourceChanged: true, goneEvents: [], marked: dismissed };
    const marked = [...(await this.mark(SUSPECT, suspected)), ...(await this.mark(CONFIRM_GONE, confirmed))];
    return {
      marked,
      suspected: suspected.length,
      confirmed: confirmed.length,
      isSourceChanged: false,
      goneEvents: confirmed.map(({ eventId, ticks }) => ({ eventId, ticks })),
    };
  }

  /** How many events one run may suspect. */
  private async readLimit(): Promise<number> {
    const { organization, log } = this.key;
    const { rows } = await this.client.query<{ events: string }>(
      'select coalesce(sum(events), 0) as events from audit.daily_totals where organization = $1 and log = $2',
      [organization, log],
    );
    const events = Number(rows[0]!.events);
    const few = this.options.isFirstCount
      ? SUSPICIOUS_EVENTS
      : Math.max(SUSPICIOUS_OF_FEW, SUSPICIOUS_SHARE_OF_FEW * events);
    return Math.max(Math.min(SUSPICIOUS_EVENTS, few), SUSPICIOUS_SHARE * events);
  }

  /** Notes that these events are shown again. Returns the rows of audit.gone_events that it wrote. */
  showAgain(events: readonly GoneEvent[]): Promise<KeyedRecord[]> {
    return this.mark(SHOW_AGAIN, events);
  }

  /** Returns the rows of audit.gone_events that it wrote. */
  private async mark(text: string, events: readonly GoneEvent[]): Promise<KeyedRecord[]> {
    if (events.length === 0) return [];
    const { organization, log, runId } = this.key;
    const { rows } = await this.client.query<KeyedRecord>(text, [
      organization,
      log,
      runId,
      events.map(({ ticks }) => formatMicroseconds(ticks)),
      events.map(({ eventId }) => eventId),
      events.map(({ ticks }) => ticks.toString()),
    ]);
    return rows;
  }
}
