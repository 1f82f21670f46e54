// @ts-check
/** The views of a batch, in the order of their tabs. A new one is a class in a folder of its own, and a name here. */

import { Grid } from "./grid/grid.js";
import { Log } from "./log/log.js";
import { Results } from "./results/results.js";
import { Runs } from "./runs/runs.js";
import { Scores } from "./scores/scores.js";
import { Timeline } from "./timeline/timeline.js";

export const VIEWS = [Runs, Grid, Scores, Timeline, Results, Log];
