// The types of what the server sends and of what the store holds.

import type {
  Explanation,
  Gradient,
  HeatMap,
  Packed,
  Picture,
  Prediction,
  Task,
  View,
} from '../../gradcam_core/viewer/types.js';

export type * from '../../gradcam_core/viewer/types.js';

export type Lane =
  | 'first'
  | 'second'
  | 'download'
  | 'long'
  | 'compare'
  | 'evaluate'
  | 'channels'
  | 'paint'
  | 'several'
  | 'suggest'
  | 'save'
  | 'live';
// ---- From the server ----

export type Concept<M = HeatMap> = { name: string; share: number; top10_correct: number; raw: M };

export interface Answer<M = Packed, G = Packed> extends Explanation<M, G> {
  probability: number;
  concepts: Concept<M>[] | null;
  milliseconds: number;
  layers: Record<string, string>;
  default_layer: string;
  capabilities: string;
  /** null if the method applies; else why it does not */
  methods: Record<string, string | null>;
}
export interface Result extends Answer<HeatMap, Gradient> {
  photo: Photo & { image: Picture };
  key: string;
  typed: string;
}

export type Curve = number[];
export type Measurement = {
  title: string;
  better: 'higher' | 'lower';
  value: number;
  references: Record<string, number>;
  curve: Curve;
  reference_curves: Record<string, Curve>;
  map: number[][] | null;
};
export type Preview = { url: string; width: number; height: number };
export type Download = { title: string; megabytes: number; licence: string; limits: string };
/** The offer to download a model: the choice that asked for it, or the second model */
export type Offer = Download & ({ readonly choice: Choice } | { readonly second: string });

/** How a map was made, see demo/channels.py; numbers as base64 */
export interface PackedChannels extends Reply {
  word: string | null;
  count: number;
  active: number;
  h: number;
  w: number;
  numbers: number[];
  weights: string;
  strengths: string;
  peaks: string;
  total: number;
  data: string;
  rest: string;
  rounding: number;
}
/** What the server answers; which fields are there depends on the lane. */
export interface Reply {
  id?: number;
  error?: string;
  problem?: Problem;
  near?: string[];
  download?: Download;
  code?: string;
  answer?: Answer;
  picture?: Preview;
  labels?: Prediction[];
}
export interface Evaluation extends Reply {
  sentence: string;
  measurements: Record<string, Measurement>;
  /** whether the map shows what the network uses; null: the photo cannot tell */
  supports: boolean | null;
  steps: { layer: string; correlation: number; map: Packed }[];
  goal: string;
  picture: Preview;
  change: Preview;
  radius: number;
  predictions: Prediction[];
  probability: number;
  after: Packed;
  other: Packed;
  fooled: boolean;
  correlation: number;
  found: boolean;
}
export type Test = 'occlusion' | 'curves' | 'sanity' | 'fool';
export type Evaluations = Partial<Record<Test, Evaluation>>;

// ---- From the page, once ----

export type ModelInfo = {
  name: string;
  title: string;
  year: number;
  megabytes: number;
  /** Whether it needs no download (any more). */
  here: boolean;
  guided: boolean;
};
export type MethodInfo = {
  name: string;
  title: string;
  paper: string;
  about: string;
  slow: boolean;
  weighted: boolean;
};
export interface Facts {
  tasks: Record<Task, ModelInfo[]>;
  methods: MethodInfo[];
  colours: Record<string, string>;
  colour: string;
  opacity: number;
  /** a map is faint if its maximum is below this share of the first choice's */
  faint_below: number;
  lanes: Lane[];
  examples: { name: string; thumbnail: string }[];
  questions: Record<string, string[]>;
  max_upload: number;
}

// ---- The store ----

/** An example, an upload, or a frame of the camera. The pictures and the upload's path come later. */
export interface Photo {
  readonly key: string;
  readonly name: string;
  readonly example?: string;
  readonly frame?: string;
  readonly file?: File;
  readonly upload?: string;
  readonly image?: Picture;
  readonly local?: Picture;
  readonly kept?: string;
}
export type Status =
  | { readonly code: 'explaining' | 'downloading' }
  | { readonly code: 'uploading'; readonly share: number }
  | { readonly code: 'fetching'; readonly host: string };
export type Problem =
  | { readonly code: 'server'; readonly text: string }
  | { readonly code: 'lost' | 'no_address' | 'not_https' | 'web_page' | 'no_camera' | 'insecure_camera' }
  | { readonly code: 'nothing_painted' }
  | { readonly code: 'busy'; readonly waiting: number }
  | { readonly code: 'too_large'; readonly name: string; readonly megabytes: number }
  | { readonly code: 'not_uploaded' | 'damaged'; readonly name: string }
  | { readonly code: 'not_found'; readonly host: string; readonly status: number }
  | { readonly code: 'not_fetched'; readonly host: string };
export type ExplainOptions = { target?: string; again?: string; lane?: 'first' | 'download' };
export type Retry =
  | { readonly code: 'reload' }
  | { readonly code: 'explain'; readonly options: ExplainOptions; readonly choice?: Choice }
  | { readonly code: 'photo'; readonly photo: Photo }
  | { readonly code: 'upload'; readonly file: File; readonly target: string }
  | { readonly code: 'save'; readonly format: string };
/** The second result: another target of the same model, or the same target of another model */
export type Second = { readonly target?: string; readonly model?: string };
/** How a photo is explained; layer null: the model's default */
export interface Choice {
  readonly model: string;
  readonly layer: string | null;
  readonly method: string;
}

export interface TaskState extends Choice {
  /** the last choice that gave an explanation */
  readonly worked: Choice;
  /** the choice that gave none, so that the page has returned to `worked` */
  readonly failed: Choice | null;
  readonly question: string;
  /** as typed; empty for the network's first choice */
  readonly target: string;
  readonly compared: Second | null;
  readonly shown: Result | null;
  readonly second: Result | null;
  /** which word of the caption */
  readonly word: number | null;
  readonly status: Status | null;
  readonly problem: Problem | null;
  readonly secondProblem: Problem | null;
  readonly suggestions: readonly string[];
  readonly retry: Retry | null;
  readonly download: Offer | null;
  /** whether the result belongs to another photo than the chosen one */
  readonly stale: boolean;
  /** counts requests: only the answer to the last one counts */
  readonly requests: number;
}
export interface Look {
  readonly view: View;
  readonly colour: string;
  readonly opacity: number;
  /** null until the visitor decides */
  readonly sameScale: boolean | null;
}
export type Panel = 'picture' | 'guided_backprop' | 'grad_cam' | 'guided_grad_cam' | 'counterfactual' | 'words';
/** What a downloaded figure contains */
export interface FigureChoice {
  readonly panels: readonly Panel[];
  readonly rows: 'shown' | 'likely' | 'methods' | 'models';
  readonly size: 'column' | 'page' | 'slide';
}
export type Camera = 'off' | 'open' | 'live';
export interface Running {
  readonly name: string;
  readonly key: string;
  readonly lane: Lane | null;
  readonly stopping: boolean;
}
export type Explained = Result | { problem: Problem };
export interface Analysis {
  readonly running: Running | null;
  /** by the key of a result */
  readonly evaluations: ReadonlyMap<string, Evaluations>;
  /** the photo of the following maps: they can be large, so those of one photo at a time are kept */
  readonly photo: Photo | null;
  /** by `variantKey` */
  readonly variants: ReadonlyMap<string, Explained>;
  readonly measurements: ReadonlyMap<string, Evaluation>;
  /** by the key of a result and the other target */
  readonly differences: ReadonlyMap<string, Explained>;
}
export interface Paint {
  readonly photo: Photo | null;
  readonly rows: number;
  readonly columns: number;
  readonly mask: Uint8Array;
  readonly problem: Problem | null;
  readonly outcome: { readonly before: Result; readonly after: Result; readonly covered: number } | null;
  /** the photo as the server painted it, until the visitor paints again */
  readonly image: Picture | null;
}
/** What is explained in all photos of a grid */
export interface Asked extends Choice {
  readonly task: Task;
  /** null unless the task is VQA */
  readonly question: string | null;
  /** empty for the network's first choice of each */
  readonly target: string;
}
export type Sort = 'added' | 'name' | 'likely' | 'unlikely';
/** What was chosen, but is not in the grid */
export type LeftOut =
  | { readonly code: 'too_many'; readonly count: number; readonly most: number }
  | { readonly code: 'zip_empty' | 'zip_unreadable' | 'zip_encrypted'; readonly name: string };
/** Several photos at once */
export interface Several {
  readonly open: boolean;
  /** the image of each is a thumbnail; `kept` is as the server sent it */
  readonly photos: readonly Photo[];
  readonly left: LeftOut | null;
  /** what is asked for in each tab */
  readonly targets: Readonly<Record<Task, string>>;
  /** null before the grid is open */
  readonly asked: Asked | null;
  /** by `tileKey` */
  readonly explained: ReadonlyMap<string, Explained>;
  /** the one on its way */
  readonly working: Photo | null;
  readonly stopped: boolean;
  /** of all photos alike */
  readonly problem: Problem | null;
  readonly suggestions: readonly string[];
  readonly sort: Sort;
  /** which ones are shown: see `several/arrange.js` */
  readonly only: string;
}
export interface Tile {
  readonly photo: Photo;
  /** null: not yet explained */
  readonly found: Explained | null;
}
export interface State {
  readonly tab: Task;
  readonly photo: Photo | null;
  /** the share of the width, from the left, that shows the photo without the map */
  readonly handle: number;
  /** results of this visit, the latest last */
  readonly history: readonly Result[];
  readonly look: Look;
  readonly figure: FigureChoice;
  readonly camera: Camera;
  /** explanations a second, live */
  readonly rate: number;
  readonly tasks: Readonly<Record<Task, TaskState>>;
  /** models known to have no guided backpropagation */
  readonly unguided: ReadonlySet<string>;
  readonly analysis: Analysis;
  readonly paint: Paint;
  readonly several: Several;
}
