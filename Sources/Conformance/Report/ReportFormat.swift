// The ways in which a report can be written. All of them are functions of the same value, so they cannot disagree.

import JSON

/// What `-f` names.
public enum ReportFormat: String, Sendable, CaseIterable {
    case pretty, tap, junit, json

    /// The whole text of a run.
    public func text(_ run: RunReport) -> String {
        switch self {
        case .pretty: PrettyReport.text(run)
        case .tap: TAPReport.text(run)
        case .junit: JUnitReport.text(run)
        case .json: JSONReport.document(run).text + "\n"
        }
    }
}
