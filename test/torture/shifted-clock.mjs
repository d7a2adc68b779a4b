/** Preloaded into a worker: its clock is TORTURE_CLOCK_SHIFT_MS off, from the start or, with TORTURE_CLOCK_WAITS, from SIGUSR2 on. */
const RealDate = Date;
const wanted = Number(process.env.TORTURE_CLOCK_SHIFT_MS);
let shift = process.env.TORTURE_CLOCK_WAITS ? 0 : wanted;
process.on('SIGUSR2', () => {
  shift = wanted;
});

globalThis.Date = class ShiftedDate extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(RealDate.now() + shift);
    else super(...given);
  }
  static now() {
    return RealDate.now() + shift;
  }
};
