// The state of the page. Only the store writes it, each method below is an action; views read `state`.
// State holds codes: the sentences for them are in messages.js.

/** @import { Analysis, Camera, Choice, Evaluation, Evaluations, Explained, Facts, FigureChoice } from './types.js' */
/** @import { Lane, Look, Paint, Photo, Problem, Reply, Result, Retry, Second, State, Status } from './types.js' */
/** @import { Several, Task, TaskState, Test, View } from './types.js' */

/** @typedef {keyof State} Slice */

/** @type {Task[]} */
export const TASKS = ['classification', 'captioning', 'vqa'];
const HISTORY = 24;
/** Codes of answers that blame the query, or nobody, but not the model, the layer or the method. */
const CHOICE_NOT_AT_FAULT = ['unknown_label', 'cancelled', 'gone', 'out_of_date'];
const NO_PAINT = {
  photo: null,
  rows: 0,
  columns: 0,
  mask: new Uint8Array(),
  problem: null,
  outcome: null,
  image: null,
};
/** @type {Several} */
const NO_SEVERAL = {
  ...{ open: false, photos: [], left: null, targets: { classification: '', captioning: '', vqa: '' }, asked: null },
  ...{ explained: new Map(), working: null, stopped: false, problem: null, suggestions: [], sort: 'added', only: '' },
};
/** Cleared by every new attempt. */
const NO_PROBLEM = {
  ...{ problem: null, secondProblem: null, suggestions: [], retry: null },
  ...{ download: null, failed: null, stale: false },
};

/**
 * Whether the model, the layer or the method may be why the server gave no explanation.
 * @param {Reply} reply
 */
export const isChoiceAtFault = ({ problem, code }) =>
  problem?.code === 'server' && !CHOICE_NOT_AT_FAULT.includes(code ?? '');

/** @param {View} view */
export const isGuided = (view) => view === 'guided' || view === 'guided-grad-cam';

/**
 * @param {Choice} choice
 * @returns {Choice}
 */
export const choiceOf = ({ model, layer, method }) => ({ model, layer, method });

/**
 * The choice that a task begins with.
 * @param {Facts} facts
 * @param {Task} task
 * @returns {Choice}
 */
export const usualChoice = (facts, task) => ({ model: facts.tasks[task][0].name, layer: null, method: 'grad-cam' });

export class Store {
  /** @type {State} */
  state;
  /** @type {Facts} */
  facts;
  /** @type {{ slices: Slice[], render: () => void }[]} */
  #views = [];
  /** @type {Set<Slice>} what has changed since the views were rendered */
  #changed = new Set();

  /** @param {Facts} facts */
  start(facts) {
    this.facts = facts;
    this.state = {
      tab: 'classification',
      photo: null,
      handle: 0,
      history: [],
      look: { view: 'grad-cam', colour: facts.colour, opacity: facts.opacity, sameScale: null },
      figure: {
        panels: ['picture', 'guided_backprop', 'grad_cam', 'guided_grad_cam', 'counterfactual'],
        rows: 'shown',
        size: 'page',
      },
      camera: 'off',
      rate: 0,
      tasks: {
        classification: initial(facts, 'classification'),
        captioning: initial(facts, 'captioning'),
        vqa: initial(facts, 'vqa'),
      },
      unguided: new Set(),
      analysis: {
        running: null,
        evaluations: new Map(),
        ...noVariants(null),
      },
      paint: NO_PAINT,
      several: NO_SEVERAL,
    };
    this.#set(this.state);
  }

  /**
   * Render a view after changes of what it reads, once for all actions of a turn of the event loop.
   * @param {Slice[]} slices
   * @param {() => void} render
   */
  subscribe(slices, render) {
    this.#views.push({ slices, render });
  }

  /** Render what has changed at once; for code that reads the document right after an action. */
  render() {
    const changed = this.#changed;
    this.#changed = new Set();
    for (const { slices, render } of this.#views) if (slices.some((slice) => changed.has(slice))) render();
  }

  // ---- What is explained ----

  /** @param {Task} tab */
  chooseTab(tab) {
    this.#set({ tab });
    this.#leaveMissingView();
  }

  /**
   * Choose the photo to explain next, in all tabs.
   * @param {Photo} photo
   */
  choosePhoto(photo) {
    const tasks = { ...this.state.tasks };
    for (const task of TASKS) {
      const { compared, requests } = tasks[task];
      const kept = compared?.model ? compared : null;
      tasks[task] = { ...tasks[task], target: '', compared: kept, second: null, status: null, requests: requests + 1 };
    }
    this.#set({ photo, tasks, camera: 'off', rate: 0 });
    this.changeSeveral({ open: false });
  }

  /**
   * Add details of a photo that have become known.
   * @param {Photo} photo
   * @param {Partial<Photo>} more
   */
  completePhoto(photo, more) {
    Object.assign(photo, more);
    this.#set({ photo: this.state.photo });
  }

  /**
   * Show a file while it is uploaded.
   * @param {Photo} photo
   */
  beginUpload(photo) {
    this.#set({ photo, camera: 'off', rate: 0 });
    this.changeSeveral({ open: false });
    for (const task of TASKS) {
      const requests = this.state.tasks[task].requests + 1;
      this.#setTask(task, { ...NO_PROBLEM, status: { code: 'uploading', share: 0 }, requests });
    }
  }

  /**
   * @param {Photo} photo
   * @param {number} share
   */
  uploadProgress(photo, share) {
    if (this.state.photo !== photo) return;
    for (const task of TASKS) {
      if (this.state.tasks[task].status?.code === 'uploading') {
        this.#setTask(task, { status: { code: 'uploading', share } });
      }
    }
  }

  /** @param {Photo | null} photo the one that was there before the upload that failed */
  restorePhoto(photo) {
    this.#set({ photo });
    for (const task of TASKS) {
      if (this.state.tasks[task].status?.code === 'uploading') this.#setTask(task, { status: null });
    }
  }

  /** @param {string} host */
  beginFetch(host) {
    this.#setTask(this.state.tab, { ...NO_PROBLEM, status: { code: 'fetching', host } });
  }

  /**
   * @param {Problem} problem
   * @param {Retry | null} [retry]
   * @param {boolean} [stale]
   */
  showProblem(problem, retry = null, stale = false) {
    this.#setTask(this.state.tab, { ...NO_PROBLEM, status: null, problem, retry, stale });
  }

  /**
   * How saving a file went.
   * @param {Problem | null} problem
   * @param {Retry | null} retry
   */
  saved(problem, retry) {
    this.#setTask(this.state.tab, { problem, suggestions: [], retry });
  }

  /** @param {Partial<Pick<TaskState, 'model' | 'layer' | 'method' | 'question' | 'target' | 'worked'>>} choice */
  choose(choice) {
    this.#setTask(this.state.tab, choice);
  }

  /** @param {Second | null} compared */
  compareWith(compared) {
    this.#setTask(this.state.tab, { compared });
  }

  /** @param {string | undefined} target of a live picture */
  chooseLiveTarget(target) {
    this.#setTask(this.state.tab, { ...NO_PROBLEM, ...(target === undefined ? {} : { target }) });
  }

  /**
   * @param {string | undefined} target undefined: as it was
   * @param {Status} status
   * @returns {number} the number of this request
   */
  beginExplain(target, status) {
    const { requests } = this.current;
    const changed = target === undefined ? {} : { target };
    this.#setTask(this.state.tab, { ...NO_PROBLEM, ...changed, status, requests: requests + 1 });
    return requests + 1;
  }

  /**
   * @param {Task} task
   * @param {Result} result
   * @param {boolean} guided whether guided backpropagation was asked for
   */
  explained(task, result, guided) {
    const { shown, layer, word, model, method, compared } = this.state.tasks[task];
    const same = shown?.key === result.key;
    if (same && !result.gradient) result.gradient = shown.gradient;
    if (guided && !result.gradient) this.#set({ unguided: new Set([...this.state.unguided, result.model]) });
    const worked = { model, layer: layer && result.layer, method };
    const apart = compared?.target === result.target ? null : compared; // nothing is compared with itself
    const now = { status: null, shown: result, word: same ? word : null, compared: apart };
    this.#setTask(task, { ...now, layer: worked.layer, worked });
    if (!same) this.#leaveOwnScale();
    this.#leaveMissingView();
    this.#remember(result);
  }

  /**
   * @param {Task} task
   * @param {Reply | null} reply null: a later request took its place
   * @param {Retry | null} retry
   * @param {Photo | null} former to return to, if the new photo cannot be opened
   * @param {Choice | null} [failed] the choice that gave no explanation
   */
  notExplained(task, reply, retry, former, failed = null) {
    const choice = failed ?? choiceOf(this.state.tasks[task]);
    const download = reply?.download ? { ...reply.download, choice } : null;
    this.#setTask(task, {
      status: null,
      ...(reply && { problem: reply.problem ?? null, suggestions: reply.near ?? [], download, retry, failed }),
      ...(former && { stale: true }),
    });
    if (former) this.#set({ photo: former });
  }

  /**
   * Return to a choice that gives explanations, for later photos, too.
   * @param {Task} task
   * @param {Choice} choice
   */
  fallBack(task, choice) {
    this.#setTask(task, { ...choice, worked: choice });
  }

  beginSecond() {
    const { compared, shown } = this.current;
    this.#setTask(this.state.tab, { ...NO_PROBLEM, ...(compared && shown ? {} : { second: null }) });
  }

  /**
   * @param {Task} task
   * @param {Result | null} result
   * @param {Reply} reply
   */
  secondExplained(task, result, reply) {
    const { compared, second: before, shown } = this.state.tasks[task];
    const download = reply.download && { ...reply.download, second: compared?.model ?? '' };
    this.#setTask(task, { second: result, secondProblem: reply.problem ?? null, ...(download && { download }) });
    if (result) {
      if (before?.key !== result.key) this.#leaveOwnScale();
      this.#remember(result);
    } else if (compared?.model && isChoiceAtFault(reply)) {
      // Not tried again with every later photo: what was shown beside the first stays, if there was something.
      const kept = before?.photo === shown?.photo ? before : null;
      const other = kept && (kept.model === shown?.model ? { target: kept.target } : { model: kept.model });
      this.#setTask(task, { second: kept, compared: other });
    }
  }

  /** @param {Result[]} results of this visit before the page was loaded again */
  restoreHistory(results) {
    const now = this.state.history;
    const before = results.filter(({ key }) => now.every((each) => each.key !== key));
    this.#set({ history: [...before, ...now].slice(-HISTORY) });
  }

  /** @param {Result} result of the history */
  returnTo(result) {
    const { task, photo, model, method, target, question } = result;
    const layer = result.layer === result.default_layer ? null : result.layer;
    const choice = { model, layer, method };
    this.#set({ tab: task, photo, camera: 'off', rate: 0 });
    this.changeSeveral({ open: false });
    this.#leaveOwnScale();
    this.#setTask(task, {
      ...NO_PROBLEM,
      ...{ shown: result, second: null, compared: null, word: null, status: null, target },
      ...{ ...choice, worked: choice },
      requests: this.current.requests + 1,
      question: question ?? this.current.question,
    });
    this.#leaveMissingView();
  }

  // ---- How it is shown ----

  /** @param {number | null} word */
  chooseWord(word) {
    this.#setTask(this.state.tab, { word });
    const { view } = this.state.look;
    if (word != null && view !== 'grad-cam' && view !== 'spotlight') this.changeLook({ view: 'grad-cam' });
  }

  /** @param {Partial<Look>} change */
  changeLook(change) {
    this.#set({ look: { ...this.state.look, ...change } });
  }

  /** @param {Partial<FigureChoice>} change */
  chooseFigure(change) {
    this.#set({ figure: { ...this.state.figure, ...change } });
  }

  /** @param {number} share */
  moveHandle(share) {
    this.#set({ handle: Math.max(0, Math.min(1, share)) });
  }

  // ---- The camera ----

  /** @param {Camera} camera */
  setCamera(camera) {
    this.#set({ camera, rate: 0 });
    if (camera !== 'off') this.changeSeveral({ open: false });
    if (camera === 'live') this.#setTask(this.state.tab, NO_PROBLEM);
  }

  /**
   * @param {Result} result of a frame
   * @param {number} rate
   */
  showFrame(result, rate) {
    this.#set({ photo: result.photo, rate });
    const shown = { shown: result, second: null, compared: null, word: null, status: null, stale: false };
    this.#setTask(result.task, { ...shown, worked: choiceOf(this.state.tasks[result.task]) });
    this.#leaveMissingView();
  }

  /**
   * @param {Task} task
   * @param {Reply} reply
   * @param {string} target which is given up
   */
  frameFailed(task, { problem, near }, target) {
    this.#setTask(task, { problem: problem ?? null, suggestions: near ?? [] });
    if (this.state.tasks[task].target === target) this.#setTask(task, { target: '' });
  }

  // ---- The sections under the result ----

  /**
   * @param {string} name
   * @param {string} key of the result that the work is about
   */
  beginWork(name, key) {
    this.#setAnalysis({ running: { name, key, lane: null, stopping: false } });
  }

  /** @param {Lane | null} lane where a request is on its way */
  workIn(lane) {
    const { running } = this.state.analysis;
    if (running) this.#setAnalysis({ running: { ...running, lane } });
  }

  stopWork() {
    const { running } = this.state.analysis;
    if (running) this.#setAnalysis({ running: { ...running, stopping: true } });
  }

  endWork() {
    this.#setAnalysis({ running: null });
  }

  /**
   * @param {string} key
   * @param {Test} test
   * @param {Evaluation | null} evaluation
   */
  evaluated(key, test, evaluation) {
    const { [test]: _, ...others } = this.state.analysis.evaluations.get(key) ?? {};
    /** @type {Evaluations} */
    const now = evaluation ? { ...others, [test]: evaluation } : others;
    this.#setAnalysis({ evaluations: new Map([...this.state.analysis.evaluations, [key, now]]) });
  }

  /**
   * @template {'variants' | 'measurements' | 'differences'} K
   * @param {K} kind
   * @param {Photo} photo
   * @param {string} key
   * @param {K extends 'measurements' ? Evaluation : Explained} value
   */
  addVariant(kind, photo, key, value) {
    const { analysis } = this.state;
    const kept = analysis.photo === photo ? analysis : noVariants(photo);
    const values = new Map(/** @type {ReadonlyMap<string, Evaluation | Explained>} */ (kept[kind])).set(key, value);
    this.#setAnalysis({ ...kept, [kind]: values, running: analysis.running });
  }

  /**
   * @param {Photo} photo
   * @param {number} rows
   * @param {number} columns
   */
  beginPaint(photo, rows, columns) {
    this.#set({ paint: { ...NO_PAINT, photo, rows, columns, mask: new Uint8Array(rows * columns) } });
  }

  /** @param {Uint8Array} mask */
  setMask(mask) {
    this.#setPaint({ mask, image: null });
  }

  forgetPainted() {
    this.#setPaint({ image: null });
  }

  /** @param {Problem} problem */
  paintFailed(problem) {
    this.#setPaint({ problem, outcome: null });
  }

  /**
   * @param {NonNullable<Paint['outcome']>} outcome
   * @param {Paint['image']} image null: the visitor has painted since
   */
  painted(outcome, image) {
    this.#setPaint({ problem: null, outcome, image: image ?? this.state.paint.image });
  }

  // ---- Several photos at once ----

  /** @param {Partial<Several>} change */
  changeSeveral(change) {
    this.#set({ several: { ...this.state.several, ...change } });
  }

  // ---- Private ----

  /** The state of the open tab. */
  get current() {
    return this.state.tasks[this.state.tab];
  }

  /** @param {Result} result */
  #remember(result) {
    const others = this.state.history.filter(({ key }) => key !== result.key);
    this.#set({ history: [...others, result].slice(-HISTORY) });
  }

  /** That each map has a scale of its own is the visitor's wish for what is shown, not for later results. */
  #leaveOwnScale() {
    if (this.state.look.sameScale === false) this.changeLook({ sameScale: null });
  }

  /** Leave a view that the network does not have. */
  #leaveMissingView() {
    const { shown } = this.current;
    if (shown && !shown.gradient && isGuided(this.state.look.view)) this.changeLook({ view: 'grad-cam' });
  }

  /** @param {Partial<State>} change */
  #set(change) {
    this.state = { ...this.state, ...change };
    if (!this.#changed.size) queueMicrotask(() => this.render());
    for (const slice of Object.keys(change)) this.#changed.add(/** @type {Slice} */ (slice));
  }

  /**
   * @param {Task} task
   * @param {Partial<TaskState>} change
   */
  #setTask(task, change) {
    const { tasks } = this.state;
    this.#set({ tasks: { ...tasks, [task]: { ...tasks[task], ...change } } });
  }

  /** @param {Partial<Analysis>} change */
  #setAnalysis(change) {
    this.#set({ analysis: { ...this.state.analysis, ...change } });
  }

  /** @param {Partial<Paint>} change */
  #setPaint(change) {
    this.#set({ paint: { ...this.state.paint, ...change } });
  }
}

/**
 * @param {Photo | null} photo
 * @returns {Pick<Analysis, 'photo' | 'variants' | 'measurements' | 'differences'>}
 */
const noVariants = (photo) => ({ photo, variants: new Map(), measurements: new Map(), differences: new Map() });

/**
 * @param {Facts} facts
 * @param {Task} task
 * @returns {TaskState}
 */
function initial(facts, task) {
  const choice = usualChoice(facts, task);
  return {
    ...{ ...choice, worked: choice, question: 'What is this?', target: '' },
    ...{ compared: null, shown: null, second: null, word: null, status: null, requests: 0 },
    ...NO_PROBLEM,
  };
}

export const store = new Store();
