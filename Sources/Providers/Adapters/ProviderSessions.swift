// The conversation's way to its providers: a name becomes a session of a plugin.
//
// What is configured may change while calls run, so nothing is stored here but how to ask: the chains of a call, the
// provider behind a name, the settings of a session.

import Calls
import JSON

/// What a session of one provider in one call is opened with, besides the call itself.
public struct SessionSettings: Sendable {
    public var tenant = ""
    /// BCP 47, or empty.
    public var language = ""
    /// Checked against the manifest's `session` schema.
    public var configuration: JSONValue = [:]
    /// Of a language model: function tools and options in the shape of OpenAI's chat.
    public var tools: JSONValue = []
    public var options: JSONValue = [:]

    public init() {}
}

public final class ProviderSessions: SessionFactory {
    private let chainsOf: @Sendable (CallIdentity) -> ProviderChains
    private let instance: @Sendable (String) -> ProviderInstance?
    private let settings: @Sendable (Provider, CallIdentity) -> SessionSettings
    private let converter: SampleRateConverterMaker?

    /// - Parameters:
    ///   - chains: the providers of a call, as they are configured now.
    ///   - instance: the running provider of a name ("stt.local"), its newest generation.
    ///   - settings: how to open a session of it for a call.
    ///   - converter: the media engine's resampler; without one only equal rates work.
    public init(
        chains: @escaping @Sendable (CallIdentity) -> ProviderChains,
        instance: @escaping @Sendable (String) -> ProviderInstance?,
        settings: @escaping @Sendable (Provider, CallIdentity) -> SessionSettings = { _, _ in SessionSettings() },
        converter: SampleRateConverterMaker? = nil
    ) {
        chainsOf = chains
        self.instance = instance
        self.settings = settings
        self.converter = converter
    }

    public func chains(for call: CallIdentity) -> ProviderChains { chainsOf(call) }

    /// Reports the session as opened when the plugin's `open` returned: what is asked before READY waits in the
    /// session.
    public func open(
        _ provider: Provider, for call: CallIdentity, inboundRateHz: Int, outboundRateHz: Int, mailbox: CallMailbox
    ) {
        do throws(ProviderFailure) {
            let session = try make(provider, call, inboundRateHz, outboundRateHz, mailbox)
            if mailbox.opened(provider, session) != .accepted { Self.close(session) }
        } catch {
            mailbox.failed(provider, nil, error)
        }
    }

    package func make(
        _ provider: Provider, _ call: CallIdentity, _ inboundRateHz: Int, _ outboundRateHz: Int, _ mailbox: CallMailbox
    ) throws(ProviderFailure) -> OpenedSession {
        guard let instance = instance(provider.name) else {
            throw ProviderFailure(
                code: .configuration, retryable: false,
                message: "\(provider.name) is not running; the log says why at the start")
        }
        guard instance.kind == provider.kind.pluginKind else {
            throw ProviderFailure(
                code: .configuration, retryable: false,
                message:
                    "\(provider.name) is of kind \(instance.kind.rawValue), "
                        + "and the profile wants \(provider.kind.pluginKind.rawValue)"
            )
        }
        let settings = settings(provider, call)
        var request = SessionRequest()
        request.call = call.id
        request.tenant = settings.tenant
        request.language = settings.language
        request.configuration = try instance.sessionConfiguration(settings.configuration)
        // A recogniser and a judge of turns have no epochs: they hear the one who barges in.
        switch provider.kind {
        case .speechToText:
            return .speechToText(
                try PluginSpeechToText.open(
                    instance, as: provider, request, callRateHz: inboundRateHz, mailbox: mailbox, converter: converter))
        case .turn:
            return .turn(
                try PluginTurn.open(
                    instance, as: provider, request, callRateHz: inboundRateHz, mailbox: mailbox, converter: converter))
        case .languageModel:
            request.epoch = mailbox.epoch
            return .languageModel(
                try PluginLanguageModel.open(
                    instance, as: provider, request, tools: settings.tools, options: settings.options, mailbox: mailbox)
            )
        case .textToSpeech:
            request.epoch = mailbox.epoch
            return .textToSpeech(
                try PluginTextToSpeech.open(
                    instance, as: provider, request, callRateHz: outboundRateHz, mailbox: mailbox, converter: converter)
            )
        }
    }

    private static func close(_ session: OpenedSession) {
        switch session {
        case .speechToText(let session): session.close()
        case .languageModel(let session): session.close()
        case .textToSpeech(let session): session.close()
        case .turn(let session): session.close()
        }
    }
}

extension ProviderKind {
    public var pluginKind: PluginKind {
        switch self {
        case .speechToText: .speechToText
        case .languageModel: .languageModel
        case .textToSpeech: .textToSpeech
        case .turn: .turn
        }
    }
}
