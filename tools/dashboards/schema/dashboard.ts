// A dashboard as Grafana's own types describe it, closed: what those leave open as a bag of anything (a panel's options,
// its own field settings, its queries, overrides) is filled in here by the panel's type, out of the same package. A JSON
// Schema is made of `StrictDashboard`. Only what our dashboards use is here: anything else is refused until it is added.
import type {
  Dashboard, DataTransformerConfig, FieldColor, FieldConfig, FieldConfigSource, MatcherConfig, Panel, RowPanel, ThresholdsConfig,
  ValueMapping,
} from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type { DataQuery } from '@grafana/schema/dist/types/common/common.gen';
import type * as bargauge from '@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen';
import type * as heatmap from '@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/types.gen';
import type * as logs from '@grafana/schema/dist/types/raw/composable/logs/panelcfg/x/types.gen';
import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as statetimeline from '@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';
import type * as table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as text from '@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen';
import type * as timeseries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
// Grafana 13 no longer publishes Loki's query apart from the data source; what 12.4 published is still what it reads.
import type { LokiDataQuery } from 'grafana-schema-12/dist/types/raw/composable/loki/dataquery/x/types.gen';

// Every reference to a data source is to a variable, so that a dashboard works in anybody's Grafana.
interface DataSource<Type extends string, Variable extends string> { type: Type; uid: Variable }
type PrometheusSource = DataSource<'prometheus', '${datasource}'>;
type LokiSource = DataSource<'loki', '${loki}'>;

// As in @grafana/prometheus 13.2.3, dataquery.d.ts, which can't be had without all of Grafana's user interface.
interface PrometheusQuery extends Omit<DataQuery, 'datasource' | 'queryType'> {
  datasource: PrometheusSource;
  editorMode?: 'builder' | 'code';
  exemplar?: boolean;
  expr: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  interval?: string;
  intervalFactor?: number;
  legendFormat?: string;
  range?: boolean;
}
interface LokiQuery extends Omit<LokiDataQuery, 'datasource'> { datasource: LokiSource }

// An override's property, by its id.
type Property =
  | { id: 'unit' | 'displayName' | 'noValue'; value: string }
  | { id: 'decimals' | 'min' | 'max' | 'custom.width' | 'custom.lineWidth' | 'custom.fillOpacity'; value: number }
  | { id: 'color'; value: FieldColor }
  | { id: 'thresholds'; value: ThresholdsConfig }
  | { id: 'mappings'; value: ValueMapping[] }
  | { id: 'links'; value: DataLink[] }
  | { id: 'custom.lineStyle'; value: { fill: 'solid' | 'dash' | 'dot'; dash?: number[] } }
  | { id: 'custom.cellOptions'; value: table.FieldConfig['cellOptions'] }
  | { id: 'custom.axisPlacement'; value: 'auto' | 'left' | 'right' | 'hidden' }
  | { id: 'custom.hideFrom'; value: { legend: boolean; tooltip: boolean; viz: boolean } };
interface DataLink { title: string; url: string; targetBlank?: boolean }

interface Settings<Custom> extends Omit<FieldConfigSource, 'defaults' | 'overrides'> {
  defaults: Omit<FieldConfig, 'custom' | 'links'> & { custom?: Custom; links?: DataLink[] };
  overrides: { matcher: Matcher; properties: Property[] }[];
}
type Matcher = Omit<MatcherConfig, 'id' | 'options'> & { id: 'byName' | 'byRegexp' | 'byFrameRefID'; options: string };

type Transformation = Omit<DataTransformerConfig, 'id' | 'options'> & (
  | { id: 'organize'; options: {
      excludeByName?: Record<string, boolean>; includeByName?: Record<string, boolean>; indexByName?: Record<string, number>;
      renameByName?: Record<string, string>;
    } }
  | { id: 'merge'; options: Record<string, never> }
  | { id: 'sortBy'; options: { sort: { field: string; desc?: boolean }[] } });

interface Shown extends Omit<
  Panel, 'type' | 'options' | 'fieldConfig' | 'targets' | 'datasource' | 'transformations' | 'title' | 'gridPos' | 'id'
> {
  // Without an id a link to a panel goes nowhere; without a place it lies on the others.
  id: number;
  title: string;
  gridPos: { h: number; w: number; x: number; y: number };
}
interface Queried extends Shown {
  // Says what it means, and what to do about it.
  description: string;
  transformations?: Transformation[];
}
interface Metrics<Type extends string, Options, Custom> extends Queried {
  type: Type; datasource: PrometheusSource; targets: PrometheusQuery[]; options: Options; fieldConfig: Settings<Custom>;
}
interface Logs<Type extends string, Options, Custom> extends Queried {
  type: Type; datasource: LokiSource; targets: LokiQuery[]; options: Options; fieldConfig?: Settings<Custom>;
}
interface Text extends Shown { type: 'text'; options: text.Options }
interface Row extends Omit<RowPanel, 'datasource' | 'panels' | 'gridPos' | 'title'> {
  title: string; panels: StrictPanel[]; gridPos: { h: number; w: number; x: number; y: number };
}

type StrictPanel =
  | Metrics<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | Metrics<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | Metrics<'stat', stat.Options, never>
  | Metrics<'bargauge', bargauge.Options, never>
  | Metrics<'table', table.Options, table.FieldConfig>
  | Metrics<'state-timeline', statetimeline.Options, statetimeline.FieldConfig>
  | Logs<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | Logs<'stat', stat.Options, never>
  | Logs<'table', table.Options, table.FieldConfig>
  | Logs<'logs', logs.Options, never>
  | Text;

export interface StrictDashboard extends Omit<Dashboard, 'panels' | 'uid' | 'title' | 'id' | 'snapshot'> {
  uid: string;
  title: string;
  panels: (StrictPanel | Row)[];
}
